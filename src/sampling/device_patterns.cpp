#include "sampling/device_patterns.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "kernels/pattern_spans.h"
#include "pattern/span_ways.h"
#include "sampling/diffusion_sampler.h"
#include "sampling/read_back.h"

namespace demask {
namespace {

using kernels::PatternSizes;

int64_t edges_of(const TokenAutomaton& automaton) {
  int64_t edges = 0;
  for (int32_t state = 0; state < automaton.states(); ++state) {
    for (const TokenAutomaton::Edges some :
         {automaton.edges(state), automaton.shared_edges(automaton.group_of(state))}) {
      edges += some.end() - some.begin();
    }
  }
  return edges;
}

// Each automaton once, in the order of the texts.
std::vector<std::shared_ptr<const TokenAutomaton>> automata_of(const std::vector<const Template*>& texts) {
  std::vector<std::shared_ptr<const TokenAutomaton>> automata;
  for (const Template* text : texts) {
    if (text->pattern && std::find(automata.begin(), automata.end(), text->pattern) == automata.end()) {
      automata.push_back(text->pattern);
    }
  }
  return automata;
}

// Of the tables that kernels take by spans.
SpanWays ways_of(const TokenAutomaton& automaton) {
  if (automaton.states() > kernels::most_span_states || automaton.classes() > kernels::most_span_classes) {
    return {};
  }
  std::vector<std::vector<std::pair<int32_t, int32_t>>> edges(static_cast<size_t>(automaton.states()));
  for (int32_t state = 0; state < automaton.states(); ++state) {
    automaton.for_each_edge(state, [&](const TokenAutomaton::Edge& edge) {
      edges[static_cast<size_t>(state)].emplace_back(edge.token_class, edge.next);
    });
  }
  return ways_through_spans(edges, {kernels::most_ways, kernels::most_products});
}

// Appends what PatternWays reads, and fills its part of the header.
void pack_ways(const SpanWays& ways, std::vector<int32_t>& packed) {
  size_t most = 0;
  for (const auto& own : ways.of_state) {
    most = std::max(most, own.size());
  }
  packed[kernels::header_span] = ways.span;
  packed[kernels::header_ways] = static_cast<int32_t>(most);
  packed[kernels::header_products] = static_cast<int32_t>(ways.products.size());
  for (const std::vector<int32_t>& classes : ways.products) {
    uint8_t bytes[kernels::PatternWays::longest_span] = {};
    std::copy(classes.begin(), classes.end(), bytes);
    int32_t words[sizeof bytes / sizeof(int32_t)];
    std::memcpy(words, bytes, sizeof bytes);
    packed.insert(packed.end(), std::begin(words), std::end(words));
  }
  for (const auto& own : ways.of_state) {
    for (size_t i = 0; i < most; ++i) {
      const SpanWays::Way way = i < own.size() ? own[i] : SpanWays::Way{-1, -1};
      packed.insert(packed.end(), {way.product, way.next});
    }
  }
}

// At most: ids without a class take no place.
int64_t table_numbers(const TokenAutomaton& automaton, const SpanWays& ways, int64_t outputs) {
  const int64_t states = automaton.states(), classes = automaton.classes();
  std::vector<int32_t> packed(kernels::header_size);
  pack_ways(ways, packed);
  return static_cast<int64_t>(packed.size()) + 2 * states + 1 + 2 * outputs + classes + 1 + 2 * edges_of(automaton);
}

int64_t rounded_up(int64_t count, int64_t multiple) {
  return (count + multiple - 1) / multiple * multiple;
}

}  // namespace

std::vector<int32_t> packed_pattern(const TokenAutomaton& automaton, int64_t outputs) {
  std::vector<int32_t> first_edge = {0}, accepts, edges, class_of, first_id = {0}, ids;
  for (int32_t state = 0; state < automaton.states(); ++state) {
    automaton.for_each_edge(state, [&](const TokenAutomaton::Edge& edge) {
      edges.insert(edges.end(), {edge.token_class, edge.next});
    });
    first_edge.push_back(static_cast<int32_t>(edges.size() / 2));
    accepts.push_back(automaton.accepts(state) ? 1 : 0);
  }
  std::vector<std::vector<int32_t>> ids_of(static_cast<size_t>(automaton.classes()));
  for (int64_t id = 0; id < outputs; ++id) {
    class_of.push_back(automaton.class_of(id));
    if (class_of.back() != TokenAutomaton::none) {
      ids_of[static_cast<size_t>(class_of.back())].push_back(static_cast<int32_t>(id));
    }
  }
  for (const std::vector<int32_t>& own : ids_of) {
    ids.insert(ids.end(), own.begin(), own.end());
    first_id.push_back(static_cast<int32_t>(ids.size()));
  }
  std::vector<int32_t> packed(kernels::header_size);
  packed[kernels::header_states] = automaton.states();
  packed[kernels::header_classes] = automaton.classes();
  packed[kernels::header_ended] = automaton.ended();
  packed[kernels::header_edges] = static_cast<int32_t>(edges.size() / 2);
  for (const std::vector<int32_t>* part : {&first_edge, &accepts, &class_of, &first_id, &edges}) {
    packed.insert(packed.end(), part->begin(), part->end());
  }
  pack_ways(ways_of(automaton), packed);
  packed.insert(packed.end(), ids.begin(), ids.end());
  return packed;
}

PatternSizes pattern_sizes(const std::vector<const Template*>& texts, int64_t outputs) {
  constexpr int64_t in_a_warp = 32;
  PatternSizes sizes;
  sizes.batch = static_cast<int64_t>(texts.size());
  sizes.length = texts.front()->length();
  for (const auto& automaton : automata_of(texts)) {
    const SpanWays ways = ways_of(*automaton);
    sizes.table_numbers += table_numbers(*automaton, ways, outputs);
    sizes.sums = outputs <= kernels::most_summed ? outputs : 0;
    sizes.states = std::max(sizes.states, rounded_up(automaton->states(), in_a_warp));
    sizes.weights = std::max(sizes.weights, rounded_up(automaton->classes() + 1, 2));
    if (ways.span > 0) {
      const int64_t spans = kernels::PatternSpans(ways.span, sizes.length).count();
      sizes.spans = std::max(sizes.spans, spans);
      sizes.products = std::max(sizes.products, spans * (static_cast<int64_t>(ways.products.size()) + 1));
    }
  }
  return sizes;
}

bool device_holds(const PatternSizes& sizes) {
  PatternSizes one = sizes;
  one.batch = 1;
  one.table_numbers = 0;
  return sizes.states > 0 && sizes.table_numbers <= most_table_numbers &&
         kernels::pattern_bytes(one) <= most_text_bytes;
}

DevicePatterns::DevicePatterns(const PatternSizes& sizes, int64_t outputs, at::Device device)
    : sizes_(sizes), outputs_(outputs), tensors_(kernels::make_pattern_tensors(sizes, device)) {}

bool DevicePatterns::takes(const PatternSizes& sizes) const {
  return sizes.batch == sizes_.batch && sizes.length == sizes_.length && sizes.table_numbers <= sizes_.table_numbers &&
         sizes.states <= sizes_.states && sizes.weights <= sizes_.weights && sizes.spans <= sizes_.spans &&
         sizes.products <= sizes_.products;
}

void DevicePatterns::set(const std::vector<const Template*>& texts) {
  if (auto automata = automata_of(texts); automata != set_) {
    std::vector<int32_t> tables;
    begins_.clear();
    for (const auto& automaton : automata) {
      begins_.push_back(static_cast<int64_t>(tables.size()));
      const std::vector<int32_t> packed = packed_pattern(*automaton, outputs_);
      tables.insert(tables.end(), packed.begin(), packed.end());
    }
    send(at::tensor(tables, at::kInt), tensors_.tables.narrow(0, 0, static_cast<int64_t>(tables.size())));
    set_ = std::move(automata);
  }
  std::vector<int64_t> table_at;
  std::vector<int32_t> fixed;
  for (const Template* text : texts) {
    const auto found = std::find(set_.begin(), set_.end(), text->pattern);
    table_at.push_back(text->pattern ? begins_[static_cast<size_t>(found - set_.begin())] : -1);
    for (size_t position = 0; position < text->tokens.size(); ++position) {
      fixed.push_back(!text->fixed[position] || !text->pattern ? kernels::free_position
                      : position < text->unshown               ? kernels::unshown_position
                                                               : text->pattern->class_of_given(text->tokens[position]));
    }
  }
  send(at::tensor(table_at, at::kLong), tensors_.table_at);
  send(at::tensor(fixed, at::kInt).view_as(tensors_.fixed), tensors_.fixed);
}

}  // namespace demask

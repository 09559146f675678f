#include "pattern/token_automaton.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <unordered_map>
#include <utility>

#include "core/error.h"
#include "pattern/pattern_parser.h"

namespace demask {
namespace {

// Transitions of all beginnings of pieces together; 8 bytes each.
constexpr size_t most_transitions = size_t{1} << 25;

// What some bytes do: from each state from which they lead on, where to. Ascending.
using Mapping = TokenAutomaton::ClassEdges;

struct MappingHash {
  size_t operator()(const Mapping& mapping) const {
    uint64_t hash = 1469598103934665603u;  // FNV-1a
    for (const auto& [from, to] : mapping) {
      hash = (hash ^ (static_cast<uint64_t>(static_cast<uint32_t>(from)) << 32 | static_cast<uint32_t>(to))) *
             1099511628211u;
    }
    return hash;
  }
};

// The different mappings of pieces' beginnings. There are far fewer than beginnings, for a pattern tells few apart.
class Mappings {
 public:
  static constexpr int32_t nowhere = 0, identity = 1;

  explicit Mappings(const ByteAutomaton& bytes) : bytes_(bytes) {
    number_of({});
    Mapping same;
    for (int32_t state = 0; state < bytes.states(); ++state) {
      same.emplace_back(state, state);
    }
    number_of(std::move(same));
  }

  const Mapping& at(int32_t number) const { return *mappings_[static_cast<size_t>(number)]; }

  int32_t after(int32_t number, unsigned char byte) {
    if (number == nowhere) {
      return nowhere;
    }
    const int32_t byte_class = bytes_.class_of(byte);
    const auto [found, added] = after_.emplace(static_cast<uint64_t>(number) << 8 | static_cast<uint64_t>(byte_class),
                                               static_cast<int32_t>(nowhere));
    if (added) {
      Mapping mapping;
      for (const auto& [from, to] : at(number)) {
        const int32_t next = bytes_.next_by_class(to, byte_class);
        if (next != ByteAutomaton::dead) {
          mapping.emplace_back(from, next);
        }
      }
      found->second = number_of(std::move(mapping));
    }
    return found->second;
  }

 private:
  int32_t number_of(Mapping mapping) {
    const auto [found, added] = numbers_.emplace(std::move(mapping), static_cast<int32_t>(mappings_.size()));
    if (added) {
      transitions_ += found->first.size();
      if (transitions_ > most_transitions) {
        fail(ExitCode::bad_usage,
             "pattern is too large for this vocabulary: the table of {} states has more than {} transitions. Repeat "
             "less, or say less exactly what is repeated.",
             bytes_.states(), most_transitions);
      }
      mappings_.push_back(&found->first);
    }
    return found->second;
  }

  const ByteAutomaton& bytes_;
  std::unordered_map<Mapping, int32_t, MappingHash> numbers_;
  std::vector<const Mapping*> mappings_;
  std::unordered_map<uint64_t, int32_t> after_;
  size_t transitions_ = 0;
};

// Of each id with text, the number of its piece's mapping. Pieces that begin alike are walked once.
std::vector<int32_t> mappings_of_pieces(const Vocabulary& vocabulary, Mappings& mappings) {
  std::vector<std::pair<std::string_view, int64_t>> pieces;
  for (int64_t id = 0; id < vocabulary.size(); ++id) {
    if (vocabulary.has_text(id)) {
      pieces.emplace_back(vocabulary.piece(id), id);
    }
  }
  std::sort(pieces.begin(), pieces.end());
  std::vector<int32_t> number(static_cast<size_t>(vocabulary.size()), Mappings::nowhere);
  std::vector<int32_t> walked = {Mappings::identity};  // after each byte of the piece before
  std::string_view before;
  for (const auto& [piece, id] : pieces) {
    const auto differ = std::mismatch(piece.begin(), piece.end(), before.begin(), before.end());
    walked.resize(static_cast<size_t>(differ.first - piece.begin()) + 1);
    while (walked.size() <= piece.size()) {
      walked.push_back(mappings.after(walked.back(), static_cast<unsigned char>(piece[walked.size() - 1])));
    }
    number[static_cast<size_t>(id)] = walked.back();
    before = piece;
  }
  return number;
}

// Fewer states than this keep edges of their own.
constexpr size_t least_group = 64;

// Groups of states: classes that lead from the same many states to one state each are edges of the group. A state has
// one group at most, and where states could be of several, the one that saves most edges. Returns the group of each
// class, and gives each of `states` its own; none where there is none.
std::vector<int32_t> find_groups(const std::vector<const Mapping*>& class_edges, int32_t states,
                                 std::vector<int32_t>& group_of) {
  std::map<std::vector<int32_t>, std::vector<size_t>> classes_from;
  for (size_t c = 0; c < class_edges.size(); ++c) {
    const Mapping& own = *class_edges[c];
    const auto leads_elsewhere = [&](const auto& edge) { return edge.second != own.front().second; };
    if (own.size() >= least_group && std::none_of(own.begin(), own.end(), leads_elsewhere)) {
      std::vector<int32_t> sources;
      std::transform(own.begin(), own.end(), std::back_inserter(sources), [](const auto& edge) { return edge.first; });
      classes_from[std::move(sources)].push_back(c);
    }
  }
  using Candidate = decltype(classes_from)::const_pointer;
  std::vector<Candidate> candidates;
  for (const auto& candidate : classes_from) {
    candidates.push_back(&candidate);
  }
  const auto saves = [](Candidate one) { return one->first.size() * one->second.size(); };
  std::stable_sort(candidates.begin(), candidates.end(),
                   [&](Candidate left, Candidate right) { return saves(left) > saves(right); });
  group_of.assign(static_cast<size_t>(states), TokenAutomaton::none);
  std::vector<int32_t> group_of_class(class_edges.size(), TokenAutomaton::none);
  int32_t groups = 0;
  for (const Candidate one : candidates) {
    const auto is_grouped = [&](int32_t state) { return group_of[static_cast<size_t>(state)] != TokenAutomaton::none; };
    if (std::any_of(one->first.begin(), one->first.end(), is_grouped)) {
      continue;
    }
    for (const int32_t state : one->first) {
      group_of[static_cast<size_t>(state)] = groups;
    }
    for (const size_t c : one->second) {
      group_of_class[c] = groups;
    }
    ++groups;
  }
  return group_of_class;
}

}  // namespace

TokenAutomaton::TokenAutomaton(const ByteAutomaton& bytes, const Vocabulary& vocabulary,
                               const std::vector<int64_t>& allowed, std::optional<int64_t> end_token)
    : end_token_(end_token) {
  Mappings mappings(bytes);
  const std::vector<int32_t> mapping_of = mappings_of_pieces(vocabulary, mappings);
  std::vector<const Mapping*> mapping_of_class;
  std::unordered_map<int32_t, int32_t> class_of_mapping;
  const auto add_class = [&](const Mapping* mapping) {
    mapping_of_class.push_back(mapping);
    is_drawable_.push_back(0);
    return classes() - 1;
  };
  class_of_.assign(mapping_of.size(), none);
  for (size_t id = 0; id < mapping_of.size(); ++id) {
    if (mapping_of[id] != Mappings::nowhere) {
      const auto [found, added] = class_of_mapping.emplace(mapping_of[id], classes());
      class_of_[id] = found->second;
      if (added) {
        add_class(&mappings.at(mapping_of[id]));
      }
    }
  }
  for (int32_t state = 0; state < bytes.states(); ++state) {
    accepts_.push_back(static_cast<uint8_t>(bytes.accepts(state)));
  }
  Mapping ends;  // from every accepting state
  const Mapping stays_nowhere;
  if (end_token_) {
    end_token_as_text_ = class_of(*end_token_);
    ended_ = states();
    for (int32_t state = 0; state < ended_; ++state) {
      if (accepts(state)) {
        ends.emplace_back(state, ended_);
      }
    }
    accepts_.push_back(1);
    class_of_[static_cast<size_t>(*end_token_)] = add_class(&ends);
    const int32_t only_after_the_end = add_class(&stays_nowhere);
    for (const int64_t id : allowed) {
      int32_t& own = class_of_[static_cast<size_t>(id)];
      own = own == none ? only_after_the_end : own;
    }
  }
  for (const int64_t id : allowed) {
    if (class_of(id) != none) {
      is_drawable_[static_cast<size_t>(class_of(id))] = 1;
    }
  }
  set_edges(mapping_of_class);
}

void TokenAutomaton::set_edges(const std::vector<const ClassEdges*>& class_edges) {
  const std::vector<int32_t> group_of_class = find_groups(class_edges, states(), group_of_);
  int32_t groups = 0;
  for (const int32_t group : group_of_class) {
    groups = std::max(groups, group + 1);
  }
  // By state or group, where the classes have them by class.
  first_edge_.assign(static_cast<size_t>(states() + groups) + 1, 0);
  const auto for_each = [&](auto&& visit) {
    for (int32_t c = 0; c < classes(); ++c) {
      const ClassEdges& own = *class_edges[static_cast<size_t>(c)];
      if (const int32_t group = group_of_class[static_cast<size_t>(c)]; group != none) {
        visit(states() + group, Edge{c, own.front().second});
      } else {
        for (const auto& [from, to] : own) {
          visit(from, Edge{c, to});
        }
      }
      if (ended_ != none && is_drawable(c)) {
        visit(ended_, Edge{c, ended_});
      }
    }
  };
  for_each([&](int32_t row, const Edge&) { ++first_edge_[static_cast<size_t>(row) + 1]; });
  for (size_t i = 1; i < first_edge_.size(); ++i) {
    first_edge_[i] += first_edge_[i - 1];
  }
  edges_.resize(first_edge_.back());
  std::vector<size_t> filled(first_edge_.begin(), first_edge_.end() - 1);
  for_each([&](int32_t row, const Edge& edge) { edges_[filled[static_cast<size_t>(row)]++] = edge; });
}

int32_t TokenAutomaton::next_by_class(int32_t state, int32_t token_class) const {
  for (const Edges some : {edges(state), shared_edges(group_of(state))}) {
    const Edge* found = std::lower_bound(some.begin(), some.end(), token_class,
                                         [](const Edge& edge, int32_t wanted) { return edge.token_class < wanted; });
    if (found != some.end() && found->token_class == token_class) {
      return found->next;
    }
  }
  return none;
}

int32_t TokenAutomaton::next_given(int32_t state, int64_t id) const {
  if (state == ended_) {
    return none;
  }
  return next_by_class(state, class_of_given(id));
}

ByteSet spelling_bytes(const Vocabulary& vocabulary) {
  ByteSet bytes;
  for (int64_t id = 0; id < vocabulary.size(); ++id) {
    if (vocabulary.has_text(id)) {
      for (const char byte : vocabulary.piece(id)) {
        bytes.set(static_cast<unsigned char>(byte));
      }
    }
  }
  return bytes;
}

std::shared_ptr<const TokenAutomaton> compile_rule(const TextRule& rule, const Vocabulary& vocabulary,
                                                   const std::vector<int64_t>& allowed,
                                                   std::optional<int64_t> end_token) {
  const auto compiled = [&](const ByteAutomaton& bytes) {
    return std::make_shared<const TokenAutomaton>(bytes, vocabulary, allowed, end_token);
  };
  if (!rule.pattern) {
    return compiled(*rule.words);
  }
  const ByteAutomaton pattern(parse_pattern(*rule.pattern), spelling_bytes(vocabulary));
  return compiled(rule.words == nullptr ? pattern : ByteAutomaton::intersection(pattern, *rule.words));
}

std::shared_ptr<const TokenAutomaton> compile_pattern(std::string_view pattern, const Vocabulary& vocabulary,
                                                      const std::vector<int64_t>& allowed,
                                                      std::optional<int64_t> end_token) {
  return compile_rule({pattern, nullptr}, vocabulary, allowed, end_token);
}

}  // namespace demask

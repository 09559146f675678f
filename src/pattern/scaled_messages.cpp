#include "pattern/scaled_messages.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "pattern/reached_states.h"

namespace demask {
namespace {

// The product of two numbers that are not smaller is above the smallest normal double, about 1e-308.
constexpr double least_weight = 1e-100, least_message = 1e-200;

constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

}  // namespace

int64_t pick(const TokenAutomaton& automaton, const MaskedLogits& logits, size_t masked, int32_t token_class,
             double base, double threshold) {
  const float* own = logits.rows[masked];
  int64_t chosen = 0;
  double cumulative = 0;
  for (int64_t id = 0; id < logits.outputs && cumulative <= threshold; ++id) {
    const auto logit = static_cast<double>(own[id]);
    if (automaton.class_of(id) != token_class || !(logit > minus_infinity)) {
      continue;
    }
    const double weight = std::exp(logit - base);
    chosen = weight > 0 ? id : chosen;
    cumulative += weight;
  }
  return chosen;
}

ScaledMessages::ScaledMessages(const TokenAutomaton& automaton, const PartialText& text, const MaskedLogits& logits)
    : automaton_(automaton), text_(text), logits_(logits) {
  weights_.assign(logits.rows.size() * static_cast<size_t>(automaton.classes()), 0);
  for (size_t i = 0; i < logits.rows.size() && hold_; ++i) {
    weigh_classes(logits.rows[i], weights_of(i));
  }
  if (hold_) {
    reached_.emplace(automaton, text, weights_, 0);
    send();
  }
}

void ScaledMessages::weigh_classes(const float* logits, double* weights) {
  double largest = minus_infinity;
  for (int64_t id = 0; id < logits_.outputs; ++id) {
    if (automaton_.class_of(id) != TokenAutomaton::none && static_cast<double>(logits[id]) > largest) {
      largest = static_cast<double>(logits[id]);
    }
  }
  largest_.push_back(largest);
  hold_ = hold_ && largest < std::numeric_limits<double>::infinity();
  for (int64_t id = 0; id < logits_.outputs; ++id) {
    const int32_t c = automaton_.class_of(id);
    const auto logit = static_cast<double>(logits[id]);
    if (c != TokenAutomaton::none && logit > minus_infinity) {
      const double weight = std::exp(logit - largest);
      hold_ = hold_ && weight >= least_weight;
      weights[c] += weight;
    }
  }
}

void ScaledMessages::load(size_t position) {
  const std::vector<int32_t>& states = reached_->at(position);
  const double scale = scales_[position];
  for (size_t i = 0; i < states.size(); ++i) {
    after_[static_cast<size_t>(states[i])] = messages_[position][i] * scale;
  }
  std::fill(shared_.begin(), shared_.end(), -1.0);
}

double ScaledMessages::sum_over(TokenAutomaton::Edges edges, const double* weights) const {
  // A class without weight may lead to a state whose message belongs to another position, and adds nothing.
  double sum = 0;
  for (const TokenAutomaton::Edge& edge : edges) {
    sum += weights[edge.token_class] * after_[static_cast<size_t>(edge.next)];
  }
  return sum;
}

double ScaledMessages::message_from(int32_t state, const double* weights) {
  double sum = sum_over(automaton_.edges(state), weights);
  if (const int32_t group = automaton_.group_of(state); group != TokenAutomaton::none) {
    double& shared = shared_[static_cast<size_t>(group)];
    shared = shared < 0 ? sum_over(automaton_.shared_edges(group), weights) : shared;
    sum += shared;
  }
  return sum;
}

void ScaledMessages::send() {
  after_.assign(static_cast<size_t>(automaton_.states()), 0);
  shared_.resize(static_cast<size_t>(automaton_.groups()));
  messages_.resize(text_.slots.size() + 1);
  scales_.assign(messages_.size(), 1);
  for (const int32_t state : reached_->at(text_.slots.size())) {
    messages_.back().push_back(automaton_.accepts(state) ? 1 : 0);
  }
  size_t masked = logits_.rows.size();
  for (size_t position = text_.slots.size(); position-- > 0;) {
    load(position + 1);
    const bool is_masked = text_.slots[position] == PatternSlot::masked;
    const double* weights = is_masked ? weights_of(--masked) : nullptr;
    std::vector<double>& own = messages_[position];
    const std::vector<int32_t>& states = reached_->at(position);
    own.reserve(states.size());
    for (const int32_t state : states) {
      const int32_t next = is_masked ? TokenAutomaton::none : next_at(automaton_, text_, position, state);
      own.push_back(is_masked                      ? message_from(state, weights)
                    : next == TokenAutomaton::none ? 0
                                                   : after_[static_cast<size_t>(next)]);
    }
    const double largest = own.empty() ? 0 : *std::max_element(own.begin(), own.end());
    scales_[position] = largest > 0 ? 1 / largest : 1;
    const double least = largest * least_message;
    hold_ = hold_ && std::none_of(own.begin(), own.end(), [=](double one) { return one > 0 && one < least; });
  }
}

// With the messages of the next position loaded.
int64_t ScaledMessages::choose(int32_t state, float uniform, size_t masked) {
  const double* weights = weights_of(masked);
  const double threshold = message_from(state, weights) * static_cast<double>(uniform);
  int32_t token_class = TokenAutomaton::none;
  double below = 0, share = 0;
  automaton_.for_each_edge(state, [&](const TokenAutomaton::Edge& edge) {
    const double mass = weights[edge.token_class] * after_[static_cast<size_t>(edge.next)];
    if (mass > 0 && below <= threshold) {  // should rounding leave the sum below the threshold, the last of them
      token_class = edge.token_class;
      share = std::min((threshold - below) / mass, 1.0);
      below += mass;
    }
  });
  return pick(automaton_, logits_, masked, token_class, largest_[masked], share * weights[token_class]);
}

std::optional<std::vector<int64_t>> ScaledMessages::draw(const float* uniforms) {
  if (!(messages_.front().front() > 0)) {
    return std::nullopt;
  }
  return ids_along(automaton_, text_, [&](int32_t state, size_t position, size_t masked) {
    load(position + 1);
    return choose(state, uniforms[masked], masked);
  });
}

}  // namespace demask

#include "pattern/reached_states.h"

namespace demask {

std::vector<int32_t> StateSet::take() {
  if (states_.size() > has_.size() / 16) {
    states_.clear();
    for (size_t state = 0; state < has_.size(); ++state) {
      if (has_[state] != 0) {
        states_.push_back(static_cast<int32_t>(state));
      }
    }
    std::fill(has_.begin(), has_.end(), uint8_t{0});
  } else {
    std::sort(states_.begin(), states_.end());
    for (const int32_t state : states_) {
      has_[static_cast<size_t>(state)] = 0;
    }
  }
  std::fill(has_group_.begin(), has_group_.end(), uint8_t{0});
  return std::exchange(states_, {});
}

int32_t next_at(const TokenAutomaton& automaton, const PartialText& text, size_t position, int32_t state) {
  const int64_t token = text.tokens[position];
  switch (text.slots[position]) {
    case PatternSlot::unshown:
      return state;
    case PatternSlot::given:
      return automaton.next_given(state, token);
    default:
      return automaton.next_drawn(state, token);
  }
}

ReachedStates::ReachedStates(const TokenAutomaton& automaton, const PartialText& text,
                             const std::vector<double>& weights, double least)
    : sets_({{TokenAutomaton::start()}}), set_at_({0}) {
  StateSet next(automaton);
  const auto classes = static_cast<size_t>(automaton.classes());
  const double* own = weights.data();
  const double* before = nullptr;  // of the position before, where that is masked too
  for (size_t position = 0; position < text.slots.size(); ++position) {
    if (text.slots[position] != PatternSlot::masked) {
      before = nullptr;
      advance(automaton, text, position, sets_.back(), next, [](int32_t) { return false; });
    } else {
      const auto is_alike = [&](double left, double right) { return (left > least) == (right > least); };
      const bool goes_on = before != nullptr && set_at_[position] == set_at_[position - 1] &&
                           std::equal(own, own + classes, before, is_alike);
      before = std::exchange(own, own + classes);
      if (goes_on) {
        set_at_.push_back(set_at_.back());
        continue;
      }
      advance(automaton, text, position, sets_.back(), next, [&](int32_t c) { return before[c] > least; });
    }
    std::vector<int32_t> reached = next.take();
    if (reached != sets_.back()) {
      sets_.push_back(std::move(reached));
    }
    set_at_.push_back(sets_.size() - 1);
  }
}

}  // namespace demask

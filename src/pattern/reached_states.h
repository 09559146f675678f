// Which states of a pattern the positions of a partial text can lead to.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "pattern/completions.h"

namespace demask {

// A set of states that is filled again and again.
class StateSet {
 public:
  explicit StateSet(const TokenAutomaton& automaton)
      : has_(static_cast<size_t>(automaton.states()), 0), has_group_(static_cast<size_t>(automaton.groups()), 0) {}

  void add(int32_t state) {
    if (state != TokenAutomaton::none && has_[static_cast<size_t>(state)] == 0) {
      has_[static_cast<size_t>(state)] = 1;
      states_.push_back(state);
    }
  }
  // Whether the group's shared edges are still to be followed.
  bool is_new_group(int32_t group) {
    return group != TokenAutomaton::none && std::exchange(has_group_[static_cast<size_t>(group)], uint8_t{1}) == 0;
  }
  // What was added, ascending, so that those who go over it read memory in order; and the set is empty again.
  std::vector<int32_t> take();

 private:
  std::vector<uint8_t> has_, has_group_;
  std::vector<int32_t> states_;
};

// The state after a position that is not masked.
int32_t next_at(const TokenAutomaton& automaton, const PartialText& text, size_t position, int32_t state);

// The ids of the masked positions, in their order, along one path of states from the start. That of the masked-th of
// them, which is at `position`, is choose(state, position, masked), in the state that the path has before it.
template <typename Choose>
std::vector<int64_t> ids_along(const TokenAutomaton& automaton, const PartialText& text, const Choose& choose) {
  std::vector<int64_t> ids;
  int32_t state = TokenAutomaton::start();
  for (size_t position = 0; position < text.slots.size(); ++position) {
    if (text.slots[position] == PatternSlot::masked) {
      ids.push_back(choose(state, position, ids.size()));
      state = automaton.next_drawn(state, ids.back());
    } else {
      state = next_at(automaton, text, position, state);
    }
  }
  return ids;
}

// The states that a position leads to; possible(token_class): whether a masked one may have such a token.
template <typename Possible>
void advance(const TokenAutomaton& automaton, const PartialText& text, size_t position,
             const std::vector<int32_t>& states, StateSet& next, Possible possible) {
  for (const int32_t state : states) {
    if (text.slots[position] != PatternSlot::masked) {
      next.add(next_at(automaton, text, position, state));
      continue;
    }
    const auto follow = [&](TokenAutomaton::Edges edges) {
      for (const TokenAutomaton::Edge& edge : edges) {
        if (possible(edge.token_class)) {
          next.add(edge.next);
        }
      }
    };
    follow(automaton.edges(state));
    if (const int32_t group = automaton.group_of(state); next.is_new_group(group)) {
      follow(automaton.shared_edges(group));
    }
  }
}

// The states that each position of a text can begin in, and what follows the last. Positions one after another often
// have the same ones, which are then kept and found once.
class ReachedStates {
 public:
  // weights [masked, classes] of the masked positions, in order: a class is possible where its weight is above `least`.
  ReachedStates(const TokenAutomaton& automaton, const PartialText& text, const std::vector<double>& weights,
                double least);

  const std::vector<int32_t>& at(size_t position) const { return sets_[set_at_[position]]; }

 private:
  std::vector<std::vector<int32_t>> sets_;
  std::vector<size_t> set_at_;
};

}  // namespace demask

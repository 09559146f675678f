#include "pattern/word_graph.h"

#include <algorithm>

#include "pattern/byte_automaton.h"

namespace demask {

WordGraph::WordGraph(const std::vector<std::string>& words) {
  std::string_view before;
  for (const std::string& word : words) {
    const auto differ = std::mismatch(word.begin(), word.end(), before.begin(), before.end());
    close_down_to(static_cast<size_t>(differ.first - word.begin()));
    for (auto byte = differ.first; byte != word.end(); ++byte) {
      open_.back().next.emplace_back(static_cast<unsigned char>(*byte), -1);
      open_.emplace_back();
    }
    open_.back().accepts = true;
    before = word;
  }
  close_down_to(0);
  start_ = number_of(std::move(open_.front()));
}

int32_t WordGraph::next(int32_t state, unsigned char byte) const {
  for (const auto& [own, to] : at(state).next) {
    if (own == byte) {
      return to;
    }
  }
  return -1;
}

void WordGraph::close_down_to(size_t depth) {
  for (; open_.size() > depth + 1; open_.pop_back()) {
    open_[open_.size() - 2].next.back().second = number_of(std::move(open_.back()));
  }
}

int32_t WordGraph::number_of(State state) {
  const auto [found, added] = numbers_.emplace(std::move(state), static_cast<int32_t>(states_.size()));
  if (added) {
    check_joint_states(found->second + 1);
    states_.push_back(&found->first);
  }
  return found->second;
}

size_t WordGraph::StateHash::operator()(const State& state) const {
  uint64_t hash = state.accepts ? 1469598103934665603u : 1099511628211u;  // FNV-1a
  for (const auto& [byte, to] : state.next) {
    hash = (hash ^ byte) * 1099511628211u;
    hash = (hash ^ static_cast<uint32_t>(to)) * 1099511628211u;
  }
  return hash;
}

}  // namespace demask

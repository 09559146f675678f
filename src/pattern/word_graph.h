// The minimal acyclic automaton of a list of words, which grows word by word and never has more states than it needs
// but for those of the last word. Source: Daciuk et al. 2000, algorithm 1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace demask {

class WordGraph {
 public:
  struct State {
    bool accepts = false;
    std::vector<std::pair<unsigned char, int32_t>> next;  // ascending

    bool operator==(const State& other) const { return accepts == other.accepts && next == other.next; }
  };

  // The words are sorted, no two alike. Throws Error(bad_usage) beyond most_joint_states.
  explicit WordGraph(const std::vector<std::string>& words);

  int32_t states() const { return static_cast<int32_t>(states_.size()); }
  int32_t start() const { return start_; }
  const State& at(int32_t state) const { return *states_[static_cast<size_t>(state)]; }
  // -1: no word goes on so.
  int32_t next(int32_t state, unsigned char byte) const;

 private:
  struct StateHash {
    size_t operator()(const State& state) const;
  };

  // Makes states of all but the first `depth` + 1 of the open ones, which no later word changes.
  void close_down_to(size_t depth);
  int32_t number_of(State state);

  std::vector<State> open_ = std::vector<State>(1);  // along the last word; the last of `next` is still to be set
  std::unordered_map<State, int32_t, StateHash> numbers_;
  std::vector<const State*> states_;
  int32_t start_ = 0;
};

}  // namespace demask

// Nondeterministic automata over bytes, put together from parts as a pattern is read. Source: Thompson 1968, "Regular
// expression search algorithm".
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "pattern/byte_sets.h"

namespace demask {

struct Nfa {
  enum class Kind : uint8_t { bytes, split, pass };
  struct Node {
    Kind kind = Kind::pass;
    int32_t set = -1;    // bytes: which of the sets
    int32_t out = -1;    // bytes: after one of them; split and pass: without a byte
    int32_t other = -1;  // split: the second way
  };

  std::vector<Node> nodes;
  std::vector<ByteSet> sets;  // no two alike
  int32_t start = 0;
  int32_t accept = 0;
};

// Of the automaton while it is built; beyond it the pattern is refused.
inline constexpr int64_t most_nfa_nodes = int64_t{1} << 22;

// Builds parts one after the other. The nodes of a part are consecutive, so that a repetition copies them.
class NfaBuilder {
 public:
  // Goes in at `start` and comes out of `finish`, a node whose `out` is still to be set.
  struct Part {
    int32_t begin = 0, end = 0;  // its nodes
    int32_t start = 0, finish = 0;
  };

  Part empty();
  // Of no code points: a part that nothing gets through.
  Part points(const std::vector<PointRange>& normalized_ranges);
  // These take parts that follow each other, the last of which was built last.
  Part concatenated(const Part& first, const Part& second);
  Part either(const Part& first, const Part& second);
  // `most` empty: as often as one likes.
  Part repeated(const Part& part, int64_t least, std::optional<int64_t> most);

  Nfa finish(const Part& part) &&;

 private:
  int32_t add(const Nfa::Node& node);
  int32_t add_set(const ByteSet& set);
  void connect(int32_t from, int32_t to) { nfa_.nodes[static_cast<size_t>(from)].out = to; }
  Part copy(const Part& part);
  // Around the last of a part's copies: again and again, `skips`: or not at all.
  Part looped(const Part& part, bool skips);

  Nfa nfa_;
  std::unordered_map<ByteSet, int32_t> set_numbers_;
};

}  // namespace demask

// Deterministic automata over bytes: what a pattern is once it is read.
//
// The construction is demask's own. Libraries of automata, such as augeas' libfa, read single bytes for characters,
// know no code points, and count states only when all of them are made, which a short pattern can have billions of.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "pattern/nfa.h"
#include "pattern/state_table.h"

namespace demask {

// Of an automaton before it is minimised; a pattern that needs more is refused.
inline constexpr int32_t most_states = 10000;

// Of the automaton of a list of words, and of what it and a pattern have in common.
inline constexpr int32_t most_joint_states = int32_t{1} << 18;
// Throws Error(bad_usage) where they are more.
void check_joint_states(int32_t states);

class ByteAutomaton {
 public:
  static constexpr int32_t dead = -1;  // the state from which no text matches

  // The texts of `nfa` that consist of `usable` bytes. Minimal; states are numbered breadth first from the start, 0, so
  // equal languages have equal automata. Without any text there is the start alone. Throws Error(bad_usage) where the
  // construction passes most_states, or takes more time or memory than any pattern of that size has use for.
  //
  // Source: subset construction (Rabin and Scott 1959) and Hopcroft 1971, "An n log n algorithm for minimizing states".
  ByteAutomaton(const Nfa& nfa, const ByteSet& usable);

  // Of a table without dead states but perhaps the start, and the classes of its bytes.
  ByteAutomaton(const std::array<int32_t, 256>& class_of, StateTable table);
  // The texts that both have. Minimal too. Throws Error(bad_usage) beyond most_joint_states.
  static ByteAutomaton intersection(const ByteAutomaton& left, const ByteAutomaton& right);

  int32_t states() const { return static_cast<int32_t>(accepts_.size()); }
  bool accepts(int32_t state) const { return accepts_[static_cast<size_t>(state)] != 0; }
  // Bytes that no state tells apart are one class.
  int32_t classes() const { return classes_; }
  int32_t class_of(unsigned char byte) const { return class_of_[byte]; }
  int32_t next_by_class(int32_t state, int32_t byte_class) const {
    return next_[static_cast<size_t>(state) * static_cast<size_t>(classes_) + static_cast<size_t>(byte_class)];
  }
  // After all of `bytes`, from a state that is not dead.
  int32_t next(int32_t state, std::string_view bytes) const;
  bool matches(std::string_view text) const;

 private:
  std::array<int32_t, 256> class_of_ = {};
  int32_t classes_ = 0;
  std::vector<int32_t> next_;  // [states, classes]
  std::vector<uint8_t> accepts_;
};

}  // namespace demask

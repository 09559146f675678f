// The completions of a text that match a pattern: whether there are any, the likeliest one, and one drawn by chance.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "pattern/reachable.h"
#include "pattern/token_automaton.h"

namespace demask {

// What a position of a text is to a pattern.
enum class PatternSlot : uint8_t {
  unshown,  // its token is no part of the text
  given,    // its token is the prompt's or the template's
  drawn,    // its token was drawn
  masked    // to be drawn
};

struct PartialText {
  std::vector<PatternSlot> slots;  // one a position
  std::vector<int64_t> tokens;     // one a position; of masked ones anything
};

// Whether some completion matches.
bool has_completion(const TokenAutomaton& automaton, const PartialText& text);

// A run of masked positions of which from `least` to `most` are there; the text has all of them.
struct OpenRun {
  size_t first = 0, room = 0;
  size_t least = 0, most = 0;  // at most the room
};

// Whether some completion matches with some lengths of the runs, which are in order and do not overlap.
bool has_completion(const TokenAutomaton& automaton, const PartialText& text, const std::vector<OpenRun>& runs);

// Of a text without completions, the first given position that no match of this length has, for the tokens given before
// it; none where no text of so many tokens matches at all. reachable: for as many tokens as the text has.
std::optional<int64_t> first_contradiction(const TokenAutomaton& automaton, const Reachable& reachable,
                                           const PartialText& text);

// Logits of the masked positions, in order; [outputs] each. -infinity excludes a token.
struct MaskedLogits {
  std::vector<const float*> rows;
  int64_t outputs = 0;
};

// The ids of the masked positions, in order, drawn together: completions in proportion to the product of their tokens'
// probabilities, among those that match. One uniform number a position. None where every completion is excluded.
//
// Messages go from the end to the start, one a state, scaled at each position, or in logarithms where the range of
// numbers would not hold them, so that neither length nor temperature makes them vanish; then tokens are drawn from the
// start on, by inverse CDF: the class in the order of the state's edges, by what is left of the number the token in the
// order of ids. Source: forward filtering, backward sampling of
// hidden Markov models (Scott 2002), with the directions exchanged.
std::optional<std::vector<int64_t>> draw_completion(const TokenAutomaton& automaton, const PartialText& text,
                                                    const MaskedLogits& logits, const float* uniforms);

// The likeliest completion that matches (Viterbi 1967); among equal tokens of a position the lowest id.
std::optional<std::vector<int64_t>> likeliest_completion(const TokenAutomaton& automaton, const PartialText& text,
                                                         const MaskedLogits& logits);

}  // namespace demask

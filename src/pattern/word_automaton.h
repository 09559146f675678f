// The automaton of texts that are spelt with the words of a list.
#pragma once

#include <string>
#include <vector>

#include "pattern/byte_automaton.h"

namespace demask {

// The texts of `usable` bytes in which every longest run of letters is one of the words. Letters are those of Unicode
// with the marks that combine with them, and whatever else the words consist of, such as apostrophes. A word may also
// begin with a capital letter, or be in capitals, of ASCII.
//
// `words`: UTF-8, at least one. Throws Error(bad_usage) beyond most_joint_states.
//
// An automaton that is made of a tree of the words would have four times the states, so the smallest is grown word by
// word. From where a word may end, and from the start, a character that is no letter leads to the start.
ByteAutomaton word_automaton(const std::vector<std::string>& words, const ByteSet& usable);

}  // namespace demask

// Reads a regular expression.
#pragma once

#include <string_view>

#include "pattern/nfa.h"

namespace demask {

// An automaton of the texts that match as a whole. The syntax: literals; `.`, any character but a newline; classes with
// ranges and negation; \d \w \s and their opposites, all ASCII; \n \t \r \f \v, \xHH and \x{H...}, an escaped mark;
// groups ( ) and (?: ); | ? * + {m} {m,} {m,n}. A ^ at the start and a $ at the end say what holds anyway.
//
// Throws Error(bad_usage) that names what it cannot read and the character where that stands, counted from 1.
Nfa parse_pattern(std::string_view pattern);

}  // namespace demask

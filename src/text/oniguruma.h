// Regular expressions as the tokenizers library's engine, Oniguruma, reads them, in PCRE2's syntax.
#pragma once

#include <string>
#include <string_view>

namespace demask {

// Translates an expression of Oniguruma into one with which PCRE2, with UTF, UCP and MULTILINE, matches the same. \s,
// \w, \h, (?m) and {n,m}+ mean different things to the two. Throws Error(bad_input) for what has no translation:
// classes within classes and their intersections, \W and \H within a class.
std::string from_oniguruma(std::string_view expression);

}  // namespace demask

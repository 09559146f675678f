// Regular expressions as the tokenizers library's engine, Oniguruma, reads them, in PCRE2's syntax.
#pragma once

#include <string>
#include <string_view>

namespace demask {

// PCRE2, with UTF, UCP and MULTILINE, matches with what is returned as Oniguruma does with `expression`: \s, \w, \h,
// (?m) and {n,m}+ mean other things to it. Throws Error(bad_input) for what has no translation: classes within classes
// and their intersections, \W and \H within a class.
std::string from_oniguruma(std::string_view expression);

}  // namespace demask

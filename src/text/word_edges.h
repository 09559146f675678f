// Where a piece of text stands in the words of a text. Words are runs of letters, as scripts with spaces between words
// have them.
#pragma once

#include <string_view>

namespace demask {

// True where `piece` goes on with a word that stands open before it: it begins with a letter, with an apostrophe before
// one, or within a character.
bool begins_within_word(std::string_view piece);

// True where a word may go on behind `piece`: it ends with a letter, or within a character.
bool ends_within_word(std::string_view piece);

}  // namespace demask

// Comparing texts, and showing them in messages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace demask {

bool starts_with(std::string_view text, std::string_view beginning);
bool ends_with(std::string_view text, std::string_view ending);

// The parts between separators, empty ones too: one more than there are separators. A separator is not empty.
std::vector<std::string_view> split(std::string_view text, std::string_view separator);

// Levenshtein's: the fewest insertions, deletions and replacements of bytes that make one text the other.
size_t edit_distance(std::string_view left, std::string_view right);

// Which of `names`, of which there is at least one, was probably meant; the first of equally near ones. Compares at
// most 100 bytes of `misspelt`.
std::string_view nearest(std::string_view misspelt, const std::vector<std::string_view>& names);

// `text`, or as many whole characters from its start as leave room for "..." within `limit` bytes.
std::string shorten(std::string_view text, size_t limit);

// Cells that a terminal gives to a code point, by glibc's tables; 0 for marks that combine with the character before
// them, below 0 for what is not assigned or controls the terminal.
int cell_width(uint32_t point);

// True for a code point that leaves no mark of its own, or changes the order of those around it: control characters,
// spaces other than U+0020, direction marks, fillers, what is not assigned. Marks that combine with another character
// and variation selectors count as visible.
bool is_invisible(uint32_t point);

// One character, or an escape such as Python's repr has for one that is invisible: "\n", "\x1b", "\u202e",
// "\U000e0001". A byte that is not UTF-8 is "\xff".
std::string visible(std::string_view character);

// The same for each character of `text`, in at most `limit` bytes with "..." at the end of what is cut.
std::string printable(std::string_view text, size_t limit = std::string_view::npos);

// The same but for line ends and tabs, which lay out a message of several lines.
std::string printable_lines(std::string_view text);

// A text from outside as messages show it: printable, at most so many bytes of it, in single quotes.
std::string quote(std::string_view text, size_t limit = 100);

}  // namespace demask

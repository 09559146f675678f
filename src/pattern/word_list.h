// Reads lists of words.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace demask {

inline constexpr uint64_t most_word_list_bytes = uint64_t{1} << 24;
inline constexpr size_t most_word_bytes = 256;

// The words of a file with one a line, sorted, no two alike; empty lines say nothing. Throws Error(bad_input) that
// names file and line: not there, too large, no UTF-8, a word with white space or of more than most_word_bytes, no
// word.
std::vector<std::string> read_word_list(const std::string& path);

}  // namespace demask

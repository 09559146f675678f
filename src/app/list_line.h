// One line of a list of prompts or of texts to score: a text, or a JSON object (see work_list.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "engine/work.h"

namespace demask {

// Without the line end. Of a longer line no more than this is ever kept in memory.
inline constexpr size_t max_prompt_line_bytes = size_t{1} << 20;

// What a list is of.
enum class ListOf { prompts, texts };

// A line of such a file; its text is somebody else's.
struct ListLine {
  std::string_view text;  // its first max_prompt_line_bytes
  size_t bytes = 0;       // all of them
  int64_t number = 0;     // from 1
};

// Reads the line. Gives nothing for a blank line, which counts for nothing. Whether another line has the same id is
// left to the caller. Throws Error(bad_input) that says why the line cannot be used, without its place.
std::optional<Prompt> read_list_line(const ListLine& line, ListOf what, bool is_json);

}  // namespace demask

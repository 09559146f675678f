// Setting one key to a value that somebody wrote, with a message that repeats it where it is refused.
#pragma once

#include <string>

#include "config/fields.h"

namespace demask {

inline constexpr size_t longest_shown = 80;  // bytes of a key or value that a message repeats

// Throws Error(bad_usage) where the key does not take the value; `as_written` is where it stands, and what.
void apply(const Field& field, const Literal& value, const std::string& as_written, ParsedConfig& parsed);

// The value that an argument gives to a key. A text needs no quotes, whatever it looks like: --dataset=123 is '123'.
Literal read_value(const Field& field, const std::string& text);

}  // namespace demask

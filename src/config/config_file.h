// Settings from files: .py with `key = value` lines, or a .json object.
#pragma once

#include <string>

#include "config/config.h"

namespace demask {

// Sets what the file sets. Throws Error: bad_input for a file that is missing or does not parse, bad_usage for a key or
// a value that there is not, with the line.
void apply_config_file(const std::string& path, ParsedConfig& parsed);

}  // namespace demask

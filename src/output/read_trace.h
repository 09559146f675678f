// Traces of other runs, from their files.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace demask {

// Reads a trace that demask wrote. Throws Error(bad_input) that names the file where it cannot be read, is no trace, is
// of another version, or its tables are not as large as it says.
nlohmann::ordered_json read_trace(const std::string& path);

}  // namespace demask

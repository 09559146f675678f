// JSON as it is written, and as errors speak of it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace demask {

// On one line, or with `indent` blanks a level. Bytes that are not UTF-8, such as a path's, become U+FFFD: nlohmann's
// own dump would throw.
std::string dump_json(const nlohmann::json& value, int indent = -1);
std::string dump_json(const nlohmann::ordered_json& value, int indent = -1);

// A string, in quotes; bytes that are not UTF-8 as above.
std::string dump_json(const std::string& text);

// What a nlohmann exception says, without the library's "[json.exception.parse_error.101] ".
std::string_view json_error_reason(const char* what);

}  // namespace demask

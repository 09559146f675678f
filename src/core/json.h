// JSON as it is written, and as errors speak of it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

namespace demask {

// On one line, or with `indent` blanks a level. Bytes that are not UTF-8, such as a path's, become U+FFFD: nlohmann's
// own dump would throw.
std::string dump_json(const nlohmann::json& value, int indent = -1);
std::string dump_json(const nlohmann::ordered_json& value, int indent = -1);

// A string, in quotes; bytes that are not UTF-8 as above.
std::string dump_json(const std::string& text);

// A number, or null where it is not finite, for which JSON has no number.
std::string json_number(double number);

// Why a text is not the JSON that was asked for: "it is not JSON: ...", "its JSON nests deeper than 8 levels", "it has
// the key 'a' twice". Whoever reads the file catches it and names the file.
class JsonFlaw : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Values nested at most `deepest` levels (an object of numbers is one level), in which no object has a key twice: what
// nests deeper costs far more memory than its text, and of two values under one key other programs may take the other.
// Throws JsonFlaw.
nlohmann::json parse_json(std::string_view text, int deepest);

// What a nlohmann exception says, without the library's "[json.exception.parse_error.101] ".
std::string_view json_error_reason(const char* what);

}  // namespace demask

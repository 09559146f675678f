// The JSON header of a file of safetensors.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "checkpoint/safetensors.h"

namespace demask {

// Bytes of an element of a dtype as the format names it ("BF16": 2); 0 for names that it does not have.
size_t element_bytes(std::string_view dtype);

// Calls with what is wrong; must throw.
using RefuseHeader = std::function<void(const std::string& why)>;

// Reads `json` value by value and keeps no more of it than the entries. Each has a known dtype, and a shape whose bytes
// are those between its offsets; whether the offsets lie in the file is not looked at. '__metadata__' is read past.
std::map<std::string, SafetensorsEntry> parse_safetensors_header(std::string_view json, const RefuseHeader& refuse);

}  // namespace demask

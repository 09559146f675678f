// What is wrong with the tensors of a model file, all at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace demask {

// Of a tensor in a file: more is refused, since a few bytes of a file can claim any number.
inline constexpr size_t max_dimensions = 8;

using NamedShapes = std::vector<std::pair<std::string, std::vector<int64_t>>>;
using ShapesByName = std::map<std::string, std::vector<int64_t>>;

// " Missing: a, b. Unexpected: 'c' and 3 more. Misshapen: d is [2], expected [3].", the first few of each; nothing
// where `found` holds what is expected and no more.
std::string compare_tensors(const NamedShapes& expected, const ShapesByName& found);

}  // namespace demask

// The devices that a value of the setting `device` numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace demask {

// The N of "cuda:N", or all of "cuda:N,M" as they are named, each from 0 to 99. None where the text is something else.
std::optional<std::vector<int64_t>> numbered_devices(std::string_view device);

}  // namespace demask

#include "config/devices.h"

#include <algorithm>

#include "core/text.h"

namespace demask {

std::optional<std::vector<int64_t>> numbered_devices(std::string_view device) {
  constexpr std::string_view before_numbers = "cuda:";
  if (!starts_with(device, before_numbers)) {
    return std::nullopt;
  }
  std::vector<int64_t> numbers;
  for (size_t first = before_numbers.size(); first <= device.size();) {
    const size_t end = std::min(device.find(',', first), device.size());
    const std::string_view digits = device.substr(first, end - first);
    if (digits.empty() || digits.size() > 2 || digits.find_first_not_of("0123456789") != std::string_view::npos) {
      return std::nullopt;
    }
    numbers.push_back(digits.size() == 1 ? digits[0] - '0' : (digits[0] - '0') * 10 + digits[1] - '0');
    first = end + 1;
  }
  return numbers;
}

}  // namespace demask

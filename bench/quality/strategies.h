// What is compared: labelled strategies, each a set of demask's own arguments.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace demask::quality {

struct Strategy {
  std::string label;
  std::vector<std::string> arguments;  // of demask; may contain {N} and {N/2}
};

// Those that the requests name, in their order: "LABEL: --key=value ..." with arguments between whitespace, or the
// label of a built-in one. All built-in ones where there are no requests. Throws Error(bad_usage) where a label is not
// known, not printable ASCII, or there twice.
std::vector<Strategy> select_strategies(const std::vector<std::string>& requests);

// The strategy's arguments for so many forwards: N and half of N (rounded down, at least 1) in place of {N} and {N/2};
// with --forwards=N at the end where there is neither.
std::vector<std::string> arguments_for(const Strategy& strategy, int64_t forwards);

}  // namespace demask::quality

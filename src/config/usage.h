// What --help and the man page say beside the keys.
#pragma once

#include <string_view>
#include <vector>

namespace demask {

struct UsageLine {
  std::string_view form;  // a flag, a command or a code
  std::string_view meaning;
};

const std::vector<std::string_view>& usage_examples();  // commands
const std::vector<UsageLine>& other_flags();            // flags that are no settings
const std::vector<UsageLine>& exit_codes();

}  // namespace demask

#include "core/overwriting.h"

#include <filesystem>
#include <system_error>

#include "core/error.h"
#include "core/text.h"

namespace demask {

bool are_one_file(const std::string& left, const std::string& right) {
  std::error_code unknown, not_there;
  const bool can_be_lost = !std::filesystem::exists(left, unknown) || std::filesystem::is_regular_file(left, unknown);
  return can_be_lost && (left == right || std::filesystem::equivalent(left, right, not_there));
}

void check_overwrites_none(const std::string& key, const std::string& path, const std::vector<std::string>& read) {
  for (const std::string& input : read) {
    if (are_one_file(path, input)) {
      fail(ExitCode::bad_usage, "{}={} is an input of this run and would be overwritten. Name another file.", key,
           quote(path));
    }
  }
}

}  // namespace demask

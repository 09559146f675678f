#include "config/generate.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace demask {

std::string generated_names() {
  return fmt::format("{}", fmt::join(names_of<Generated>, " "));
}

std::string generate(Generated what) {
  switch (what) {
    case Generated::man:
      return generate_man();
    case Generated::bash:
      return generate_bash();
    case Generated::zsh:
      return generate_zsh();
    case Generated::fish:
      break;
  }
  return generate_fish();
}

}  // namespace demask

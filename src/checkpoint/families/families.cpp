#include "checkpoint/families/families.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/error.h"
#include "core/json.h"
#include "core/text.h"

namespace demask {
namespace {

using nlohmann::json;

const std::vector<const Family*>& all_families() {
#define DEMASK_ADDRESS(name) &name##_family(),
  static const std::vector<const Family*> families = {DEMASK_FAMILIES(DEMASK_ADDRESS)};
#undef DEMASK_ADDRESS
  return families;
}

std::string list_families() {
  std::vector<std::string> families;
  for (const Family* family : all_families()) {
    families.push_back(fmt::format("{} ({})", family->model_type, fmt::join(family->architectures, ", ")));
  }
  return fmt::format("demask reads {}", fmt::join(families, ", "));
}

bool names_architecture(const Family& family, const json& architectures) {
  return std::any_of(architectures.begin(), architectures.end(), [&](const json& architecture) {
    return std::any_of(family.architectures.begin(), family.architectures.end(), [&](std::string_view known) {
      return architecture.is_string() && architecture.get_ref<const std::string&>() == known;
    });
  });
}

}  // namespace

const Family& find_family(const json& config, const std::string& path) {
  const auto field = [&](const char* key) {
    const auto found = config.find(key);
    return found == config.end() ? json() : *found;
  };
  const json type = field("model_type");
  const json architectures = field("architectures");
  const bool well_formed =
      (type.is_null() || type.is_string()) && (architectures.is_null() || architectures.is_array());
  if (well_formed) {
    for (const Family* family : all_families()) {
      const bool right_type = type.is_null() || type.get_ref<const std::string&>() == family->model_type;
      const bool any_architecture = !type.is_null() && (architectures.is_null() || architectures.empty());
      if (right_type && (any_architecture || names_architecture(*family, architectures))) {
        return *family;
      }
    }
  }
  constexpr size_t shown = 100;
  fail(ExitCode::bad_input, "model configuration '{}': 'model_type' is {} and 'architectures' are {}. {}.", path,
       shorten(dump_json(type), shown), shorten(dump_json(architectures), shown), list_families());
}

const Family& family_of(const TransformerDescription& description) {
  for (const Family* family : all_families()) {
    if (family->name == description.family) {
      return *family;
    }
  }
  fail(ExitCode::failed, "there is no family {} of models. {}.", quote(description.family), list_families());
}

}  // namespace demask

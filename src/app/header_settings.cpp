#include "app/header_settings.h"

#include <set>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include "config/fields.h"

namespace demask {
namespace {

nlohmann::ordered_json to_json(const Literal& literal) {
  return std::visit(
      [](const auto& value) -> nlohmann::ordered_json {
        using Value = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<Value, std::monostate>) {
          return nullptr;
        } else if constexpr (std::is_same_v<Value, std::vector<Literal>>) {
          nlohmann::ordered_json list = nlohmann::ordered_json::array();
          for (const Literal& element : value) {
            list.push_back(to_json(element));
          }
          return list;
        } else {
          return value;
        }
      },
      literal.value);
}

}  // namespace

nlohmann::ordered_json settings_json(const Config& config) {
  nlohmann::ordered_json settings = nlohmann::ordered_json::object();
  for (const Field& field : fields()) {
    if (is_setting_of_a_run(field.role)) {
      settings[std::string(field.name)] = to_json(value_of(field, config));
    }
  }
  return settings;
}

const std::set<std::string>& places_in_header() {
  static const std::set<std::string> places = [] {
    std::set<std::string> names = {"checkpoint", "vocabulary", "remasking_checkpoint", "prompts", "score"};
    for (const Field& field : fields()) {
      if (field.role == Role::place) {
        names.emplace(field.name);
      }
    }
    return names;
  }();
  return places;
}

}  // namespace demask

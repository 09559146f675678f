#include "app/settings.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

namespace demask {
namespace {

// How a run is cut up, shown and stored, and what stands beside the settings: their number, seed, device and precision.
constexpr std::array<std::string_view, 20> left_out = {
    "num_samples",   "first_sample", "batch_size",    "seed",
    "device",        "dtype",        "show_progress", "use_verbose_logging",
    "log_debug",     "live",         "output",        "trace",
    "trace_samples", "report",       "compare",       "prompts",
    "on_error",      "resume",       "shard",         "merge"};

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
    if (std::find(left_out.begin(), left_out.end(), field.name) == left_out.end()) {
      settings[std::string(field.name)] = to_json(value_of(field, config));
    }
  }
  return settings;
}

}  // namespace demask

// The settings of diffusion sampling: what every strategy shares, and the values of the chosen one's own parameters.
// Plain C++ without LibTorch, for the reading of settings uses it too.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/names.h"

namespace demask {

// What `best` was measured with; its settings follow how many times as many there are.
inline constexpr double usual_forwards = 32;

struct Strategy;
const Strategy& default_strategy();  // the guide's loop

// How the masked share falls from one iteration to the next; custom: as masking_ratios says; dream: as Dream's
// timesteps do.
enum class ScheduleType { linear, cosine, power, custom, dream };
template <>
inline constexpr std::array<std::string_view, 5> names_of<ScheduleType>{"linear", "cosine", "power", "custom", "dream"};

// What judges the tokens: a second forward on the filled text, the forward that drew them, or that one's distribution
// as temperature, top_k and top_p leave it, which the tokens were drawn from.
enum class ConfidenceSource { rescore, draw, filtered };
template <>
inline constexpr std::array<std::string_view, 3> names_of<ConfidenceSource>{"rescore", "draw", "filtered"};

// Which keys and values are kept while a block is filled: none, those of the positions before it, or those of all
// positions outside of it.
enum class CacheKind { none, prefix, dual };
template <>
inline constexpr std::array<std::string_view, 3> names_of<CacheKind>{"none", "prefix", "dual"};

// What class 1 of a remasking model means.
enum class PositiveClass { wrong, correct };
template <>
inline constexpr std::array<std::string_view, 2> names_of<PositiveClass>{"wrong", "correct"};

using ParameterValue = std::variant<bool, int64_t, double, std::string>;

// Values of strategies' own parameters, by name. Reading one that is not there, or as another type, throws
// std::logic_error: a strategy reads only what it declares, once the settings are settled.
class ParameterValues {
 public:
  bool has(std::string_view name) const { return values_.find(name) != values_.end(); }
  const ParameterValue& at(std::string_view name) const;
  bool flag(std::string_view name) const;
  int64_t whole(std::string_view name) const;
  double number(std::string_view name) const;
  const std::string& text(std::string_view name) const;

  void set(std::string_view name, ParameterValue value);
  void erase(std::string_view name);

 private:
  std::map<std::string, ParameterValue, std::less<>> values_;
};

// Members are named as the settings that users give.
struct DiffusionSettings {
  const Strategy* strategy = &default_strategy();  // one of strategies(), never null
  ParameterValues parameters;                      // once settled, those of `strategy` and no other's

  double temperature = 0.8;
  std::optional<double> temperature_end;  // the last step's
  double cfg_scale = 0.0;

  int64_t diffusion_iterations = 50;
  std::optional<int64_t> forwards;
  std::optional<int64_t> block_length;  // positions
  CacheKind cache = CacheKind::none;
  ScheduleType schedule_type = ScheduleType::linear;
  double start_ratio = 0.95;
  double end_ratio = 0.05;
  std::optional<double> schedule_power;
  std::optional<std::vector<double>> masking_ratios;

  std::optional<ConfidenceSource> confidence_source;
  std::optional<std::string> remasking_checkpoint_name;
  PositiveClass remasking_positive_class = PositiveClass::wrong;
};

}  // namespace demask

#include "config/completion_values.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>

#include "sampling/strategies/strategy.h"

namespace demask {

PathKind path_kind(std::string_view key) {
  constexpr std::array<std::pair<std::string_view, PathKind>, 15> kinds = {{
      {"out_dir", PathKind::folder},
      {"checkpoint_name", PathKind::checkpoint},
      {"remasking_checkpoint_name", PathKind::checkpoint},
      {"data_dir", PathKind::folder},
      {"dataset", PathKind::dataset},
      {"meta_path", PathKind::file},
      {"export", PathKind::folder},
      {"inspect", PathKind::file},
      {"output", PathKind::file},
      {"trace", PathKind::file},
      {"report", PathKind::file},
      {"compare", PathKind::file},
      {"score", PathKind::file},
      {"prompts", PathKind::file},
      {"merge", PathKind::file},
  }};
  const auto* const found =
      std::find_if(kinds.begin(), kinds.end(), [&](const auto& kind) { return kind.first == key; });
  return found == kinds.end() ? PathKind::none : found->second;
}

std::vector<std::string> offered_words(const Field& field) {
  std::vector<std::string> words;
  if (is_bool(field)) {
    words = {"True", "False"};
  } else if (const auto* choices = std::get_if<Choices>(&field.rule)) {
    words.assign(choices->begin(), choices->end());
  } else if (field.name == "device") {
    words = {"auto", "cpu", "cuda"};
  } else if (field.name == "init_from") {
    words = {"resume"};
  }
  if (!words.empty() && can_be_none(field)) {
    words.emplace_back("None");
  }
  return words;
}

std::string words_in_one(const Field& field) {
  return fmt::format("{}", fmt::join(offered_words(field), " "));
}

std::string takers(const Field& field, std::string_view separator) {
  std::vector<std::string_view> names;
  for (const Strategy& strategy : strategies()) {
    if (field.taken_by(strategy)) {
      names.push_back(strategy.name);
    }
  }
  return fmt::format("{}", fmt::join(names, separator));
}

std::string escaped(std::string_view text, const std::map<char, std::string_view>& by) {
  std::string result;
  for (const char c : text) {
    const auto found = by.find(c);
    result += found == by.end() ? std::string(1, c) : std::string(found->second);
  }
  return result;
}

std::vector<std::string_view> keys_of_all_strategies() {
  std::vector<std::string_view> keys;
  for (const Field& field : fields()) {
    if (!field.taken_by) {
      keys.push_back(field.name);
    }
  }
  return keys;
}

std::vector<const Field*> keys_of_some_strategies() {
  std::vector<const Field*> keys;
  for (const Field& field : fields()) {
    if (field.taken_by) {
      keys.push_back(&field);
    }
  }
  return keys;
}

}  // namespace demask

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "app/inspect/file_report.h"
#include "core/json.h"
#include "core/text.h"

namespace demask {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t label_width = 24;
constexpr size_t longest_value = 2000;

std::string value_text(const Json& value) {
  if (value.is_string()) {
    return printable(value.get_ref<const std::string&>(), longest_value);
  }
  if (value.is_boolean()) {
    return value.get<bool>() ? "yes" : "no";
  }
  if (value.is_null()) {
    return "none";
  }
  if (value.is_array() && std::all_of(value.begin(), value.end(), [](const Json& item) { return item.is_string(); })) {
    std::string joined;
    for (const Json& item : value) {
      joined += (joined.empty() ? "" : ", ") + item.get<std::string>();
    }
    return printable(joined, longest_value);
  }
  return shorten(dump_json(value), longest_value);
}

std::string label_of(std::string_view key) {
  std::string label(key);
  std::replace(label.begin(), label.end(), '_', ' ');
  return label;
}

// Tensors that follow one another in a list and are called the same but for numbers.
struct Alike {
  std::string pattern;  // the name with its numbers as *
  std::string form;
  std::string first;
  size_t count = 0;
};

std::string pattern_of(std::string_view name) {
  std::string pattern;
  for (const std::string_view part : split(name, ".")) {
    const bool number = !part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos;
    pattern += (pattern.empty() ? "" : ".") + std::string(number ? "*" : part);
  }
  return pattern;
}

std::vector<Alike> gather(const Json& tensors) {
  std::vector<Alike> groups;
  std::map<std::pair<std::string, std::string>, size_t> places;
  for (const Json& tensor : tensors) {
    const std::string name = tensor["name"];
    const std::string form = fmt::format("{} {}", tensor["dtype"].get<std::string>(), dump_json(tensor["shape"]));
    const std::string pattern = pattern_of(name);
    const auto [place, fresh] = places.try_emplace({pattern, form}, groups.size());
    if (fresh) {
      groups.push_back({pattern, form, name, 0});
    }
    ++groups[place->second].count;
  }
  return groups;
}

std::string tensor_lines(const Json& tensors) {
  constexpr size_t most_lines = 200;
  const std::vector<Alike> groups = gather(tensors);
  std::string text;
  for (size_t i = 0; i < std::min(groups.size(), most_lines); ++i) {
    const Alike& group = groups[i];
    const std::string times = group.count == 1 ? "" : fmt::format("  x {}", group.count);
    text +=
        fmt::format("  {:<52}  {}{}\n", printable(group.count == 1 ? group.first : group.pattern), group.form, times);
  }
  return text + (groups.size() > most_lines ? fmt::format("  and {} more\n", groups.size() - most_lines) : "");
}

void write(const Json& facts, size_t indent, std::string& text) {
  for (const auto& [key, value] : facts.items()) {
    const std::string label = std::string(indent, ' ') + label_of(printable(key));
    if (key == "tensors" && value.is_array()) {
      text += fmt::format("{}\n{}", label, tensor_lines(value));
    } else if (value.is_object() && !value.empty()) {
      text += label + "\n";
      write(value, indent + 2, text);
    } else {
      text += fmt::format("{:<{}}  {}\n", label, label_width, value_text(value));
    }
  }
}

}  // namespace

std::string to_text(const FileReport& report) {
  std::string text;
  write(report.facts, 0, text);
  return text;
}

}  // namespace demask

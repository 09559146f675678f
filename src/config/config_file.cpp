#include "config/config_file.h"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string_view>
#include <utility>
#include <vector>

#include "config/apply.h"
#include "config/fields.h"
#include "config/literal.h"
#include "config/literal_source.h"
#include "core/error.h"
#include "core/json.h"
#include "core/text.h"
#include "core/utf8.h"

namespace demask {
namespace {

using Json = nlohmann::ordered_json;

std::string read_config_text(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    fail(ExitCode::bad_input, "config file {} is a folder: name a .py or .json file", path);
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    fail(ExitCode::bad_input, "config file {} is missing or not readable", path);
  }
  std::string text(max_literal_bytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > max_literal_bytes) {
    fail(ExitCode::bad_input, "config file {} is longer than {} bytes", path, max_literal_bytes);
  }
  if (starts_with(text, byte_order_mark)) {
    text.erase(0, byte_order_mark.size());
  }
  return text;
}

void apply_from_file(const std::string& path, size_t line, const std::string& key, const Literal& value,
                     ParsedConfig& parsed) {
  const Field* field = find_field(key);
  if (field == nullptr) {
    fail(ExitCode::bad_usage, "{}:{}: unknown key {}; did you mean {}? See demask --help", path, line,
         printable(key, longest_shown), nearest_name(key));
  }
  apply(*field, value, fmt::format("{}:{}: {} = {}", path, line, key, printable(to_source(value), longest_shown)),
        parsed);
}

void apply_python_file(const std::string& path, ParsedConfig& parsed) {
  std::string text = read_config_text(path);
  for (size_t carriage = text.find("\r\n"); carriage != std::string::npos; carriage = text.find("\r\n", carriage)) {
    text.erase(carriage, 1);
  }
  try {
    for (const Assignment& line : parse_assignments(text)) {
      apply_from_file(path, line_of(text, line.offset), line.key, line.value, parsed);
    }
  } catch (const LiteralError& error) {
    fail(ExitCode::bad_input, "{}:{}: {}", path, line_of(text, error.offset()), error.what());
  }
}

// Empty for what no key takes: objects, lists of lists, numbers beyond int64.
std::optional<Literal> from_json(const Json& json, bool inside_list = false) {
  switch (json.type()) {
    case Json::value_t::null:
      return Literal{};
    case Json::value_t::boolean:
      return Literal{json.get<bool>()};
    case Json::value_t::number_unsigned:
      if (json.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
        return std::nullopt;
      }
      return Literal{json.get<int64_t>()};
    case Json::value_t::number_integer:
      return Literal{json.get<int64_t>()};
    case Json::value_t::number_float:
      return Literal{json.get<double>()};
    case Json::value_t::string:
      return Literal{json.get<std::string>()};
    case Json::value_t::array: {
      std::vector<Literal> items;
      for (const Json& item : json) {
        std::optional<Literal> literal = inside_list ? std::nullopt : from_json(item, true);
        if (!literal) {
          return std::nullopt;
        }
        items.push_back(*std::move(literal));
      }
      return Literal{std::move(items)};
    }
    default:
      return std::nullopt;
  }
}

void apply_json_file(const std::string& path, ParsedConfig& parsed) {
  const std::string text = read_config_text(path);
  std::istringstream stream(text);
  // The last character that the parser has read: a key's closing quote when it reports the key, the culprit or the line
  // end after it when it fails.
  const auto line = [&] {
    const auto position = stream.tellg();
    return line_of(text, position > 0 ? static_cast<size_t>(position) - 1 : text.size());
  };
  std::vector<std::pair<std::string, size_t>> key_offsets;  // just past each key
  const auto note_key = [&](int depth, Json::parse_event_t event, const Json& key) {
    if (event == Json::parse_event_t::key && depth == 1) {
      key_offsets.emplace_back(key.get<std::string>(), static_cast<size_t>(stream.tellg()));
    }
    return true;
  };
  Json object;
  try {
    object = Json::parse(stream, note_key);
  } catch (const Json::exception& error) {
    fail(ExitCode::bad_input, "{}:{}: not valid JSON: {}", path, line(),
         printable(json_error_reason(error.what()), 200));
  }
  if (!object.is_object()) {
    fail(ExitCode::bad_input, "{}:1: expected a JSON object of keys and values", path);
  }
  std::map<std::string, size_t> lines;  // of the keys so far
  for (const auto& [key, offset] : key_offsets) {
    const Json& json = object[key];
    const size_t key_line = line_of(text, offset);
    if (const auto [earlier, is_new] = lines.emplace(key, key_line); !is_new) {
      fail(ExitCode::bad_usage, "{}:{}: {} is set a second time, after line {}. Keep one of them.", path, key_line,
           printable(key, longest_shown), earlier->second);
    }
    const std::optional<Literal> value = from_json(json);
    if (!value) {
      fail(ExitCode::bad_usage, "{}:{}: {} = {}: no key takes such a value. See demask --help", path, key_line, key,
           printable(dump_json(json), longest_shown));
    }
    apply_from_file(path, key_line, key, *value, parsed);
  }
}

}  // namespace

void apply_config_file(const std::string& path, ParsedConfig& parsed) {
  if (ends_with(path, ".py")) {
    apply_python_file(path, parsed);
  } else if (ends_with(path, ".json")) {
    apply_json_file(path, parsed);
  } else {
    fail(ExitCode::bad_usage, "'{}' is neither --key=value nor a config file (.py or .json). See demask --help", path);
  }
}

}  // namespace demask

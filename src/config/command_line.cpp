#include "config/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string_view>
#include <utility>

#include "core/error.h"

namespace demask {
namespace {

using Json = nlohmann::ordered_json;

bool ends_with(std::string_view text, std::string_view ending) {
  return text.size() >= ending.size() && text.substr(text.size() - ending.size()) == ending;
}

// At most so many bytes of a value that an error message repeats, never half a character.
std::string shortened(const std::string& value, size_t limit = 80) {
  if (value.size() <= limit) {
    return value;
  }
  while (limit > 0 && (static_cast<unsigned char>(value[limit]) & 0xC0U) == 0x80) {
    --limit;
  }
  return value.substr(0, limit) + "...";
}

void apply(const Field& field, const Literal& value, const std::string& as_written, ParsedConfig& parsed) {
  if (!assign(field, value, parsed)) {
    fail(ExitCode::bad_usage, "{}: must be {}", as_written, allowed_values(field));
  }
}

// ---- config files

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
  if (text.compare(0, 3, "\xEF\xBB\xBF") == 0) {
    text.erase(0, 3);
  }
  return text;
}

void apply_from_file(const std::string& path, size_t line, const std::string& key, const Literal& value,
                     ParsedConfig& parsed) {
  const Field* field = find_field(key);
  if (field == nullptr) {
    fail(ExitCode::bad_usage, "{}:{}: unknown key {}; did you mean {}? See demask --help", path, line, shortened(key),
         nearest_name(key));
  }
  apply(*field, value, fmt::format("{}:{}: {} = {}", path, line, key, shortened(to_source(value))), parsed);
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
    const std::string_view reason = error.what();  // "[json.exception.parse_error.101] parse error at ..."
    fail(ExitCode::bad_input, "{}:{}: not valid JSON:{}", path, line(),
         shortened(std::string(reason.substr(reason.find(']') + 1)), 200));
  }
  if (!object.is_object()) {
    fail(ExitCode::bad_input, "{}:1: expected a JSON object of keys and values", path);
  }
  for (const auto& [key, offset] : key_offsets) {
    const Json& json = object[key];
    const size_t key_line = line_of(text, offset);
    const std::optional<Literal> value = from_json(json);
    if (!value) {
      fail(ExitCode::bad_usage, "{}:{}: {} = {}: no key takes such a value. See demask --help", path, key_line, key,
           shortened(json.dump()));
    }
    apply_from_file(path, key_line, key, *value, parsed);
  }
}

void apply_config_file(const std::string& path, ParsedConfig& parsed) {
  if (ends_with(path, ".py")) {
    apply_python_file(path, parsed);
  } else if (ends_with(path, ".json")) {
    apply_json_file(path, parsed);
  } else {
    fail(ExitCode::bad_usage, "{} is neither --key=value nor a config file (.py or .json). See demask --help", path);
  }
}

// ---- arguments

// A text needs no quotes, whatever it looks like: --dataset=123 is '123'.
Literal read_value(const Field& field, const std::string& text) {
  std::optional<Literal> literal = parse_literal(text);
  const bool is_none = literal && *literal == Literal{};
  const bool is_string = literal && std::holds_alternative<std::string>(literal->value);
  if (!literal || (is_text(field) && !is_string && !(is_none && can_be_none(field)))) {
    return {text};
  }
  return *std::move(literal);
}

using Argument = std::vector<std::string>::const_iterator;

// --key=value, --key value, or a bare --key where it means True. Gives the argument after those it used.
Argument apply_flag(Argument current, Argument end, ParsedConfig& parsed) {
  const std::string& argument = *current++;
  const size_t equals = argument.find('=');
  const std::string key = argument.substr(2, equals == std::string::npos ? equals : equals - 2);
  const Field* field = find_field(key);
  if (field == nullptr) {
    fail(ExitCode::bad_usage, "unknown key --{}; did you mean --{}? See demask --help", shortened(key),
         nearest_name(key));
  }
  std::string value;
  if (equals != std::string::npos) {
    value = argument.substr(equals + 1);
  } else if (is_bool(*field)) {
    const auto next = current != end ? parse_literal(*current) : std::nullopt;
    value = next && std::holds_alternative<bool>(next->value) ? *current++ : "True";
  } else if (current != end && current->compare(0, 2, "--") != 0) {
    value = *current++;
  } else {
    fail(ExitCode::bad_usage, "--{} needs a value: --{}=..., {}", key, key, allowed_values(*field));
  }
  apply(*field, read_value(*field, value), fmt::format("--{}={}", key, shortened(value)), parsed);
  return current;
}

void apply_arguments(const std::vector<std::string>& arguments, ParsedConfig& parsed) {
  auto current = arguments.begin();
  while (current != arguments.end()) {
    if (current->compare(0, 2, "--") == 0) {
      current = apply_flag(current, arguments.end(), parsed);
    } else if (current->compare(0, 1, "-") == 0) {
      fail(ExitCode::bad_usage, "unknown argument {}: a key is written --key=value. See demask --help", *current);
    } else {
      apply_config_file(*current++, parsed);
    }
  }
}

}  // namespace

// CLI11 takes the flags that are no settings and leaves the rest in order. The settings themselves it cannot take: it
// groups values by option where config files and keys must act in the order given, reads "--key=" as "--key", and
// splits "[a,b]".
CommandLine parse_command_line(const std::vector<std::string>& arguments) {
  CommandLine command_line;
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  const CLI::Option* help = app.add_flag("-h,--help")->disable_flag_override();
  const CLI::Option* version = app.add_flag("--version")->disable_flag_override();
  const CLI::Option* print = app.add_flag("--print_config")->disable_flag_override();
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::ParseError&) {
    fail(ExitCode::bad_usage, "--help, --version and --print_config take no value. See demask --help");
  }
  if (help->count() > 0) {
    command_line.action = CommandLine::Action::help;
    return command_line;
  }
  if (version->count() > 0) {
    command_line.action = CommandLine::Action::version;
    return command_line;
  }
  if (print->count() > 0) {
    command_line.action = CommandLine::Action::print_config;
  }
  apply_arguments(app.remaining(), command_line.parsed);
  settle(command_line.parsed);
  return command_line;
}

namespace {

// So that a POSIX shell passes it on as it is.
std::string quote_for_shell(const std::string& text) {
  constexpr std::string_view plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+=:,./@%";
  if (!text.empty() && text.find_first_not_of(plain) == std::string::npos) {
    return text;
  }
  std::string quoted = "'";
  for (const char c : text) {
    quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  }
  return quoted + "'";
}

}  // namespace

std::string to_command(const ParsedConfig& parsed, const std::set<std::string_view>& left_out) {
  const Config defaults;
  std::string command = "demask";
  for (const Field& field : fields()) {
    const Literal value = value_of(field, parsed.config);
    // A default that was given may say more than one that was not: other keys' defaults follow from that.
    const bool goes_without_saying =
        value == value_of(field, defaults) && parsed.given.count(std::string(field.name)) == 0;
    if (goes_without_saying || left_out.count(field.name) > 0) {
      continue;
    }
    // Without Python's quotes where that reads back the same.
    const auto* text = std::get_if<std::string>(&value.value);
    const std::string source = text != nullptr && read_value(field, *text) == value ? *text : to_source(value);
    command += fmt::format(" --{}={}", field.name, quote_for_shell(source));
  }
  return command;
}

std::string help_text() {
  std::string text = R"(Usage: demask [CONFIG ...] [--key=value ...]
       demask --help | --version | --print_config [CONFIG ...] [--key=value ...]

Samples text from masked-diffusion and autoregressive character models.

Arguments act from left to right; later ones win. CONFIG is a .py file of `key = value` lines or a .json object.
A value is a Python literal (True, None, 3, 1e-3, "text\n", [0.9, 0.5]), otherwise plain text.

Examples:
  demask --num_samples=1 --sequence_length=256
  demask --sampling_method=standard --max_new_tokens=100 --start_text="To be or not to be"
  demask configs/high_quality.py --seed=7 --output=samples.jsonl
  demask --infill_text="ROMEO: ########" --temperature=0.6
  demask --prompts=prompts.jsonl --output=samples.jsonl --resume=True
)";
  const Config defaults;
  std::string_view group;
  for (const Field& field : fields()) {
    if (field.group != group) {
      text += fmt::format("\n{}:\n", field.group);
      group = field.group;
    }
    const std::string key = fmt::format("--{}={}", field.name, to_source(value_of(field, defaults)));
    const std::string alias = field.alias.empty() ? "" : fmt::format(" (or --{})", field.alias);
    const std::string takers = field.strategies.empty() ? "" : fmt::format("; for {}", field.strategies);
    text += fmt::format("  {:<34}  {}{}\n{:38}{}{}\n", key, field.help, alias, "", allowed_values(field), takers);
  }
  return text + R"(
Other:
  -h, --help                          this text
  --version                           versions of demask and LibTorch, and whether CUDA is there
  --print_config                      the effective configuration, as a config file

Exit codes: 0 done; 2 bad usage; 3 an input is missing or unreadable; 4 failed while running; 130 interrupted, 143 by SIGTERM.
)";
}

}  // namespace demask

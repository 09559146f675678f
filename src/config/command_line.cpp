#include "config/command_line.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "config/apply.h"
#include "config/config_file.h"
#include "config/fields.h"
#include "config/settle.h"
#include "core/error.h"
#include "core/text.h"

namespace demask {
namespace {

using Argument = std::vector<std::string>::const_iterator;

// --key=value, --key value, or a bare --key where it means True. Gives the argument after those it used.
Argument apply_flag(Argument current, Argument end, ParsedConfig& parsed) {
  const std::string& argument = *current++;
  const size_t equals = argument.find('=');
  const std::string key = argument.substr(2, equals == std::string::npos ? equals : equals - 2);
  const Field* field = find_field(key);
  if (field == nullptr) {
    fail(ExitCode::bad_usage, "unknown key --{}; did you mean --{}? See demask --help", printable(key, longest_shown),
         nearest_name(key));
  }
  std::string value;
  if (equals != std::string::npos) {
    value = argument.substr(equals + 1);
  } else if (is_bool(*field)) {
    const auto next = current != end ? parse_literal(*current) : std::nullopt;
    value = next && std::holds_alternative<bool>(next->value) ? *current++ : "True";
  } else if (current != end && !starts_with(*current, "--")) {
    value = *current++;
  } else {
    fail(ExitCode::bad_usage, "--{} needs a value: --{}=..., {}", key, key, allowed_values(*field));
  }
  const std::string shown = value.empty() ? "''" : printable(value, longest_shown);
  apply(*field, read_value(*field, value), fmt::format("--{}={}", key, shown), parsed);
  return current;
}

void apply_arguments(const std::vector<std::string>& arguments, CommandLine& command_line) {
  ParsedConfig& parsed = command_line.parsed;
  auto current = arguments.begin();
  while (current != arguments.end()) {
    if (starts_with(*current, "--")) {
      current = apply_flag(current, arguments.end(), parsed);
    } else if (starts_with(*current, "-")) {
      fail(ExitCode::bad_usage, "unknown argument {}: a key is written --key=value. See demask --help", *current);
    } else {
      apply_config_file(*current, parsed);
      command_line.config_files.push_back(*current++);
    }
  }
}

Generated read_generated(const std::string& name) {
  const std::optional<Generated> generated = value_named<Generated>(name);
  if (!generated) {
    fail(ExitCode::bad_usage, "--generate={}: it must be one of {}.", printable(name, longest_shown),
         fmt::join(names_of<Generated>, ", "));
  }
  return *generated;
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
  const CLI::Option* doctor = app.add_flag("--doctor")->disable_flag_override();
  std::string generated;
  const CLI::Option* generate = app.add_option("--generate", generated);
  const CLI::Option* print = app.add_flag("--print_config")->disable_flag_override();
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::ParseError&) {
    fail(ExitCode::bad_usage,
         "--help, --version, --doctor and --print_config take no value, and --generate takes one of {}. See demask "
         "--help",
         fmt::join(names_of<Generated>, ", "));
  }
  if (help->count() > 0) {
    command_line.action = CommandLine::Action::help;
    return command_line;
  }
  if (version->count() > 0) {
    command_line.action = CommandLine::Action::version;
    return command_line;
  }
  if (doctor->count() > 0) {
    command_line.action = CommandLine::Action::doctor;
    return command_line;
  }
  if (generate->count() > 0) {
    command_line.action = CommandLine::Action::generate;
    command_line.generated = read_generated(generated);
    return command_line;
  }
  if (print->count() > 0) {
    command_line.action = CommandLine::Action::print_config;
  }
  apply_arguments(app.remaining(), command_line);
  settle(command_line.parsed);
  return command_line;
}

}  // namespace demask

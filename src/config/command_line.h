// The command line: `demask [CONFIG ...] [--key=value ...]`, applied left to right, later wins.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"

namespace demask {

struct CommandLine {
  enum class Action { run, help, version, print_config };
  Action action = Action::run;
  ParsedConfig parsed;  // settled; defaults where the action is help or version
};

// `arguments` are those after the program's name. Throws Error: bad_usage for a key, a value or a contradiction of
// keys, bad_input for a config file that is missing or does not parse.
CommandLine parse_command_line(const std::vector<std::string>& arguments);

// A command for the shell that parses to the same configuration, but for the keys in `left_out`.
std::string to_command(const ParsedConfig& parsed, const std::set<std::string_view>& left_out);

// What --help prints.
std::string help_text();

}  // namespace demask

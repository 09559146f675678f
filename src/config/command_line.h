// The command line: `demask [CONFIG ...] [--key=value ...]`, applied left to right, later wins.
#pragma once

#include <string>
#include <vector>

#include "config/config.h"

namespace demask {

struct CommandLine {
  enum class Action { run, help, version, print_config };
  Action action = Action::run;
  ParsedConfig parsed;                    // settled; defaults where the action is help or version
  std::vector<std::string> config_files;  // that were read
};

// `arguments` are those after the program's name. Throws Error: bad_usage for a key, a value or a contradiction of
// keys, bad_input for a config file that is missing or does not parse.
CommandLine parse_command_line(const std::vector<std::string>& arguments);

}  // namespace demask

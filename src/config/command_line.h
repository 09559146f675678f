// The command line: `demask [CONFIG ...] [--key=value ...]`, applied left to right, later wins.
#pragma once

#include <string>
#include <vector>

#include "config/config.h"
#include "config/generate.h"

namespace demask {

struct CommandLine {
  enum class Action { run, help, version, print_config, doctor, generate };
  Action action = Action::run;
  Generated generated = Generated::man;   // where the action is to generate
  ParsedConfig parsed;                    // settled; defaults where the action is another than to run or print it
  std::vector<std::string> config_files;  // that were read
};

// `arguments` are those after the program's name. Throws Error: bad_usage for a key, a value or a contradiction of
// keys, bad_input for a config file that is missing or does not parse.
CommandLine parse_command_line(const std::vector<std::string>& arguments);

}  // namespace demask

// Settings as text: for people, as a config file, as a command.
#pragma once

#include <string>

#include "config/config.h"

namespace demask {

// What --help prints.
std::string help_text();

// The configuration as a config file that reads back to the same.
std::string print_config(const Config& config);

// A command for the shell that makes the same samples: without how they are shown, stored and cut into pieces.
std::string to_command(const ParsedConfig& parsed);

}  // namespace demask

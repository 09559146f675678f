// The program behind main: composes every part, and is the only place that knows Config and all the rest.
#pragma once

#include <string>
#include <vector>

namespace demask {

// Runs demask with the arguments after the program's name. Samples go to stdout, everything else to stderr.
// Throws Error; returns when the work is done.
void run(const std::vector<std::string>& arguments);

}  // namespace demask

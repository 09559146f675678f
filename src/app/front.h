// The program's front: what it answers without LibTorch, whose loading takes half a second. Help, version, printed
// settings, errors in keys and configurations, and merging end here; the rest is the engine's.
#pragma once

#include <string>
#include <vector>

namespace demask {

// Runs demask with the arguments after the program's name. Samples go to stdout, everything else to stderr. Gives the
// exit code; throws Error.
int answer(const std::vector<std::string>& arguments);

}  // namespace demask

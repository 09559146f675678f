// What --version prints.
#pragma once

#include <string>

namespace demask {

// One line: demask's version, LibTorch's, and CUDA devices by the files that their driver makes, since asking CUDA
// itself takes some tenths of a second.
std::string version_text();

}  // namespace demask

// What is installed beside the program: example models and vocabularies.
#pragma once

#include <filesystem>
#include <vector>

#include "config/config.h"

namespace demask {

// Folders of datasets that an installed demask has: beside the running program, and where the build says that will be.
// They need not be there; the models' folder `out` is beside each.
std::vector<std::filesystem::path> installed_data();

// Where nobody named out_dir and the working folder has none, takes the models that are installed, with a notice.
// Nothing changes where there are none.
void use_installed_models(ParsedConfig& parsed);

}  // namespace demask

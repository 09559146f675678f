// Writing a model as a folder in place of sampling from it.
#pragma once

#include "config/config.h"

namespace demask {

// Writes the checkpoint that the configuration names to the folder `export`, with its vocabulary, in the precision that
// it is stored in unless dtype names another. Throws Error: bad_input where the checkpoint is none that demask reads
// natively, or the vocabulary cannot be read; else as export_model.
void export_checkpoint(const ParsedConfig& parsed);

}  // namespace demask

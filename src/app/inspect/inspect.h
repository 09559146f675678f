// Looking into a file in place of sampling: what it is, and what demask would do with it.
#pragma once

#include "app/inspect/file_report.h"
#include "config/config.h"

namespace demask {

// Looks into the file or folder that config.inspect names: a nanoGPT training checkpoint, a TorchScript module, a
// model's folder or its safetensors, a vocabulary, a run file or a trace, told apart by content. Reads headers and
// small files only, never the data of a tensor or the lines of a run but the last. What a model's vocabulary, mask and
// method would be follows from the other settings, as in a run. Throws Error(bad_input) where the file cannot be read,
// is damaged, or is nothing that demask knows.
FileReport inspect_file(const Config& config);

// Prints the report as inspect_format says, then throws the refusal, if there is one.
void print_inspection(const Config& config);

}  // namespace demask

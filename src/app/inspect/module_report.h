// What a TorchScript file says of its module, read without loading it: its code is neither compiled nor run.
#pragma once

#include "app/inspect/file_report.h"
#include "checkpoint/archive.h"
#include "config/config.h"

namespace demask {

// Adds the module's tensors, what tools/export_torchscript.py wrote beside them, and what demask would do with it.
// Throws Error(bad_input) where the archive or its pickle is damaged.
void add_module(const Config& config, const Archive& archive, FileReport& report);

}  // namespace demask

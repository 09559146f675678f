// What demask would do with a model.
#pragma once

#include <string>

#include "app/inspect/file_report.h"
#include "config/config.h"
#include "model/model_info.h"

namespace demask {

// Adds the vocabulary that a run would read, the method that the model is for, its mask and a command that samples from
// it, or the refusal that the run would end with. `info` has its outputs and what it sees.
void add_use(const Config& config, const std::string& path, const ModelInfo& info, FileReport& report);

}  // namespace demask

// The reports on single kinds of file. Each takes a file that is known to be of its kind.
#pragma once

#include <string>

#include "app/inspect/file_report.h"
#include "config/config.h"

namespace demask {

FileReport report_on_zip(const Config& config, const std::string& path);           // training checkpoint, TorchScript
FileReport report_on_model_folder(const Config& config, const std::string& path);  // or a file of safetensors
FileReport report_on_vocabulary(const std::string& path);                          // a file, or a folder that has one
FileReport report_on_run_file(const std::string& path);
FileReport report_on_trace(const std::string& path);

}  // namespace demask

// The files that make up a checkpoint, whatever its form.
#pragma once

#include <string>
#include <vector>

namespace demask {

// The folder that holds a checkpoint: itself, or the one that the file lies in.
std::string folder_of_checkpoint(const std::string& path);

// The files that loading the checkpoint reads, sorted by name: of a model's folder config.json and its files of
// safetensors, with their index; else the file itself. Those that are not there are left to loading, which says so.
std::vector<std::string> checkpoint_files(const std::string& path);

// A digest of their bytes: sha256_of_large_files of these files. Throws as it does.
std::string checkpoint_digest(const std::string& path);

}  // namespace demask

#include "checkpoint/checkpoint_files.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "checkpoint/model_folder.h"
#include "core/sha256.h"
#include "core/text.h"

namespace demask {

std::string folder_of_checkpoint(const std::string& path) {
  std::error_code unknown;
  if (std::filesystem::is_directory(path, unknown)) {
    return path;
  }
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

std::vector<std::string> checkpoint_files(const std::string& path) {
  if (!is_model_folder(path)) {
    return {path};
  }
  const std::filesystem::path folder = folder_of_checkpoint(path);
  const std::string config = (folder / config_name).string(), whole = (folder / weights_name).string();
  std::error_code unknown;
  if (!std::filesystem::is_directory(path, unknown)) {
    return {config, path};
  }
  if (std::filesystem::exists(whole, unknown)) {
    return {config, whole};
  }
  std::vector<std::string> files = {config};
  for (const auto& entry : std::filesystem::directory_iterator(folder, unknown)) {
    const std::string name = entry.path().filename().string();
    if (name == weights_index_name || ends_with(name, ".safetensors")) {
      files.push_back(entry.path().string());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string checkpoint_digest(const std::string& path) {
  return sha256_of_large_files(checkpoint_files(path));
}

}  // namespace demask

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
  std::error_code unknown;
  const bool is_folder = std::filesystem::is_directory(path, unknown);
  const std::filesystem::path whole = is_folder ? folder / weights_name : std::filesystem::path(path);
  std::vector<std::string> files = {(folder / config_name).string()};
  if (!is_folder || std::filesystem::exists(whole, unknown)) {
    files.push_back(whole.string());
    return files;
  }
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

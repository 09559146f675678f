// What is asked of every input file before it is read: that it is there, a file, readable and not empty.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <vector>

#include "core/error.h"

namespace demask {

// How messages speak of a kind of file: "checkpoint", "Check --out_dir and --checkpoint_name."
struct InputFileKind {
  const char* what;
  const char* advice;
};

// "Files in 'out': a.pt, b.pt." for the folder that `path` should have been in.
inline std::string list_neighbours(const std::filesystem::path& path) {
  constexpr size_t shown = 20;
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  std::error_code error;
  std::vector<std::string> names;
  std::filesystem::directory_iterator entry(folder, error);
  if (error) return fmt::format("There is no folder '{}' that can be read.", folder.string());
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    std::error_code unknown;
    if (entry->is_regular_file(unknown)) names.push_back(entry->path().filename().string());
  }
  if (names.empty()) return fmt::format("There are no files in '{}'.", folder.string());
  std::sort(names.begin(), names.end());
  std::string list = fmt::format(
      "Files in '{}': {}", folder.string(),
      fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(std::min(shown, names.size())), ", "));
  return names.size() > shown ? fmt::format("{} and {} more.", list, names.size() - shown) : list + ".";
}

// Opens `path` and sets `size` to its length in bytes.
// Throws Error(bad_input): not there (listing what is), not a regular file, empty, or not readable.
inline std::ifstream open_input_file(const std::string& path, const InputFileKind& kind, uint64_t& size) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found) {
    fail(ExitCode::bad_input, "{} not found: '{}'. {} {}", kind.what, path, list_neighbours(path), kind.advice);
  }
  if (std::filesystem::is_directory(status)) {
    fail(ExitCode::bad_input, "{} '{}' is a directory, not a file. {}", kind.what, path, kind.advice);
  }
  if (!error && !std::filesystem::is_regular_file(status)) {
    fail(ExitCode::bad_input, "{} '{}' is not a regular file. {}", kind.what, path, kind.advice);
  }
  if (!error) size = std::filesystem::file_size(path, error);
  std::ifstream file;
  errno = 0;
  if (!error) file.open(path, std::ios::binary);
  if (error || !file) {
    const std::string reason = error ? error.message() : std::strerror(errno);
    fail(ExitCode::bad_input, "{} '{}' cannot be read: {}.", kind.what, path, reason);
  }
  if (size == 0) fail(ExitCode::bad_input, "{} '{}' is empty. {}", kind.what, path, kind.advice);
  return file;
}

}  // namespace demask

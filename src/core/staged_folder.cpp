#include "core/staged_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "core/error.h"
#include "core/temporary_files.h"
#include "core/text.h"
#include "core/write_all.h"

namespace demask {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail_to_write(const std::string& path, int error) {
  fail(ExitCode::failed, "'{}' cannot be written: {}.", path, std::strerror(error));
}

// "a/b/" is "a/b".
fs::path without_last_slash(const std::string& path) {
  const fs::path normal = fs::path(path).lexically_normal();
  return normal.has_filename() ? normal : normal.parent_path();
}

}  // namespace

StagedFolder::StagedFolder(const std::string& key, const std::string& path)
    : key_(key), path_(without_last_slash(path).string()) {
  std::error_code error;
  const bool free = !fs::exists(fs::symlink_status(path_, error)) ||
                    (fs::is_directory(fs::symlink_status(path_, error)) && fs::is_empty(path_, error) && !error);
  if (!free) {
    refuse_existing();
  }
  const fs::path place(path_);
  if (place.has_parent_path()) {
    fs::create_directories(place.parent_path(), error);  // what is wrong with it shows in the next call
  }
  const std::string staged =
      (place.parent_path() / fmt::format(".{}.partial-{}", place.filename().string(), ::getpid())).string();
  register_temporary(staged);
  if (::mkdir(staged.c_str(), 0777) != 0) {
    const int reason = errno;
    unregister_temporary(staged);
    fail_to_write(path_, reason);
  }
  staged_ = staged;
  temporaries_.push_back(staged);
}

StagedFolder::~StagedFolder() {
  if (!staged_.empty()) {
    std::error_code ignored;
    fs::remove_all(staged_, ignored);
  }
  for (const std::string& temporary : temporaries_) {
    unregister_temporary(temporary);
  }
}

void StagedFolder::refuse_existing() const {
  fail(ExitCode::bad_usage, "{}={}: that is there already, and is not overwritten. Name another folder, or remove it.",
       key_, quote(path_));
}

void StagedFolder::write(const std::string& name, const std::function<void(const Write&)>& fill) {
  const std::string path = staged_ + "/" + name;
  const std::string shown = path_ + "/" + name;
  register_temporary(path);
  temporaries_.push_back(path);
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor < 0) {
    fail_to_write(shown, errno);
  }
  try {
    fill([&](std::string_view bytes) {
      if (!write_all(descriptor, bytes)) {
        fail_to_write(shown, errno);
      }
    });
    if (::fsync(descriptor) != 0) {
      fail_to_write(shown, errno);
    }
  } catch (...) {
    ::close(descriptor);
    throw;
  }
  if (::close(descriptor) != 0) {
    fail_to_write(shown, errno);
  }
}

void StagedFolder::publish() {
  if (std::rename(staged_.c_str(), path_.c_str()) != 0) {
    const int reason = errno;
    if (reason == ENOTEMPTY || reason == EEXIST || reason == ENOTDIR) {
      refuse_existing();
    }
    fail_to_write(path_, reason);
  }
  staged_.clear();
}

}  // namespace demask

// What keeps two processes from one run file: its lock, and the one name that stands for a file and its links.
#pragma once

#include <sys/file.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>

#include "core/error.h"
#include "output/output_file.h"

namespace demask {

// False where another process holds the lock. Some file systems have no locks (ENOLCK, EOPNOTSUPP, ENOSYS): there the
// user has to see to it that no two runs write one file.
inline bool try_lock(const Descriptor& file, int mode) {
  return ::flock(file.get(), mode | LOCK_NB) == 0 || errno != EWOULDBLOCK;
}

// Throws Error(failed).
[[noreturn]] inline void fail_locked(const std::string& path) {
  fail(ExitCode::failed,
       "the output '{}' is being written by another demask run: wait for that to end, or name another --output", path);
}

// Symbolic links followed, so that a run that is resumed under its file's other name finds the same side file.
inline std::string followed(const std::string& path) {
  std::error_code not_a_link;
  return std::filesystem::is_symlink(path, not_a_link) ? std::filesystem::canonical(path).string() : path;
}

}  // namespace demask

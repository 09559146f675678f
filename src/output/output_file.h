// Open files and where a writer's bytes go: straight to a file as they come, or beside it until all are there.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "core/descriptor.h"
#include "core/error.h"
#include "core/held_output.h"
#include "core/temporary_files.h"
#include "core/write_all.h"

namespace demask {

[[noreturn]] inline void fail_output(const std::string& name, const std::string& reason) {
  fail(ExitCode::failed, "the output '{}' could not be written: {}", name, reason);
}

inline Descriptor duplicate(int descriptor) {
  return Descriptor(::fcntl(descriptor, F_DUPFD_CLOEXEC, 0));  // NOLINT(*-vararg)
}

// Where a writer's bytes go.
class Output {
 public:
  virtual ~Output() = default;
  // All of `text` or, where the file allows it, nothing.
  virtual void append(std::string_view text) = 0;
  virtual void finish() = 0;
};

// Written as it comes.
class DirectOutput : public Output {
 public:
  // `undo_partial` where the file is a regular one of `size` bytes: a failed append is then cut off again.
  DirectOutput(Descriptor descriptor, std::string name, bool undo_partial, off_t size = 0)
      : descriptor_(std::move(descriptor)), name_(std::move(name)), undo_partial_(undo_partial), size_(size) {
    if (!descriptor_.is_open()) {
      fail_output(name_, last_error());
    }
  }

  void append(std::string_view text) override {
    if (!descriptor_.write_all(text)) {
      std::string reason = last_error();
      if (undo_partial_ && ::ftruncate(descriptor_.get(), size_) != 0) {
        reason += "; its last line is incomplete";
      }
      fail_output(name_, reason);
    }
    size_ += static_cast<off_t>(text.size());
  }

  // Of a regular file: drops what is behind the first `size` bytes.
  void cut(off_t size) {
    if (::ftruncate(descriptor_.get(), size) != 0) {
      fail_output(name_, last_error());
    }
    size_ = size;
  }

  // Of a regular file: returns once it would survive a crash of the machine.
  void sync() const {
    if (::fsync(descriptor_.get()) != 0) {
      fail_output(name_, last_error());
    }
  }

  void finish() override {
    if (!descriptor_.close()) {
      fail_output(name_, last_error());
    }
  }

 private:
  Descriptor descriptor_;
  std::string name_;
  bool undo_partial_;
  off_t size_;  // of all whole appends
};

// A standard stream: where that is a terminal that a view draws on, what is written waits for it.
class StreamOutput : public DirectOutput {
 public:
  StreamOutput(int descriptor, std::string name)
      : DirectOutput(duplicate(descriptor), std::move(name), false), stream_(descriptor) {}

  void append(std::string_view text) override {
    if (::isatty(stream_) == 0 || !hold_back(stream_, text)) {
      DirectOutput::append(text);
    }
  }

 private:
  int stream_;
};

// All of `text`. Throws Error(failed) where stdout does not take it.
inline void write_to_stdout(std::string_view text) {
  StreamOutput output(STDOUT_FILENO, "standard output");
  output.append(text);
  output.finish();
}

// Written beside its target and renamed over it when finished.
class ReplacingOutput : public Output {
 public:
  // `target` is `name` with symbolic links followed.
  ReplacingOutput(std::filesystem::path target, std::string name)
      : name_(std::move(name)), target_(std::move(target)), temporary_(temporary_path(target_)) {
    struct stat existing {};
    const bool exists = ::stat(target_.c_str(), &existing) == 0;
    if (exists && ::access(target_.c_str(), W_OK) != 0) {
      fail_output(name_, last_error());
    }
    register_temporary(temporary_);
    // One left by a killed process of the same id would be in the way of O_EXCL, which keeps us from following a link.
    ::unlink(temporary_.c_str());
    descriptor_.emplace(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));  // NOLINT(*-vararg)
    if (!descriptor_->is_open()) {
      const std::string reason = last_error();
      unregister_temporary(temporary_);
      fail_output(name_,
                  fmt::format("no file can be made in its folder '{}': {}", folder_of(target_).string(), reason));
    }
    if (exists) {
      ::fchmod(descriptor_->get(), existing.st_mode & 07777);
    }
  }
  ReplacingOutput(const ReplacingOutput&) = delete;
  ReplacingOutput& operator=(const ReplacingOutput&) = delete;
  ~ReplacingOutput() override {
    if (!finished_) {
      ::unlink(temporary_.c_str());
      unregister_temporary(temporary_);
    }
  }

  void append(std::string_view text) override {
    if (!descriptor_->write_all(text)) {
      fail_output(name_, last_error());
    }
  }

  void finish() override {
    // The data must be on disk before the name is, or a crash could leave an empty file in place of the older one.
    if (::fsync(descriptor_->get()) != 0 || !descriptor_->close() ||
        ::rename(temporary_.c_str(), target_.c_str()) != 0) {
      fail_output(name_, last_error());
    }
    finished_ = true;
    unregister_temporary(temporary_);
  }

 private:
  static std::filesystem::path folder_of(const std::filesystem::path& target) {
    return target.has_parent_path() ? target.parent_path() : ".";
  }
  static std::string temporary_path(const std::filesystem::path& target) {
    return (folder_of(target) / fmt::format(".{}.{}.tmp", target.filename().string(), ::getpid())).string();
  }

  std::string name_;
  std::filesystem::path target_;
  std::string temporary_;
  std::optional<Descriptor> descriptor_;
  bool finished_ = false;
};

inline Descriptor open_to_write(const std::string& path) {
  return Descriptor(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));  // NOLINT(*-vararg)
}

// stdout or stderr, if that is where this file already goes (/dev/stdout): opened again, it would be overwritten from
// its start.
inline std::optional<int> standard_stream(const struct stat& file) {
  for (const int stream : {STDOUT_FILENO, STDERR_FILENO}) {
    struct stat status {};
    if (::fstat(stream, &status) == 0 && status.st_dev == file.st_dev && status.st_ino == file.st_ino) {
      return stream;
    }
  }
  return std::nullopt;
}

// What a path names.
struct OutputPlace {
  std::optional<int> stream;  // stdout or stderr, if that is where it goes
  bool regular = true;        // or to be made
};

// Throws Error(failed) where it names a folder.
inline OutputPlace output_place(const std::string& path) {
  struct stat status {};
  const bool exists = ::stat(path.c_str(), &status) == 0;
  if ((exists && S_ISDIR(status.st_mode)) || !std::filesystem::path(path).has_filename()) {
    fail_output(path, "it does not name a file but a folder");
  }
  return {exists ? standard_stream(status) : std::nullopt, !exists || S_ISREG(status.st_mode)};
}

// Replaces a regular file when finished, and writes anything else as it comes.
inline std::unique_ptr<Output> open_output(const std::string& path) {
  const OutputPlace place = output_place(path);
  if (place.stream) {
    return std::make_unique<StreamOutput>(*place.stream, path);
  }
  if (!place.regular) {
    return std::make_unique<DirectOutput>(open_to_write(path), path, false);
  }
  std::error_code unresolved;
  const std::filesystem::path target = std::filesystem::canonical(path, unresolved);
  return std::make_unique<ReplacingOutput>(unresolved ? std::filesystem::path(path) : target, path);
}

}  // namespace demask

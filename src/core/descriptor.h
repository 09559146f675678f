// An open file by its number.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "core/write_all.h"

namespace demask {

inline std::string last_error() {
  return std::generic_category().message(errno);
}

// An open file, closed with its owner.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  Descriptor(Descriptor&& other) noexcept : value_(std::exchange(other.value_, -1)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (value_ >= 0) {
      ::close(value_);
    }
  }
  bool is_open() const { return value_ >= 0; }

  // All of `text`, however many calls it takes; false with errno set where one fails.
  bool write_all(std::string_view text) const { return demask::write_all(value_, text); }
  // Some file systems report a failed write only here.
  bool close() { return ::close(std::exchange(value_, -1)) == 0; }
  int get() const { return value_; }

 private:
  int value_;
};

// Up to `count` bytes at `offset`, none at the end of the file; below 0 with errno set where they cannot be read.
inline ssize_t read_some(int file, char* bytes, size_t count, off_t offset) {
  ssize_t got = -1;
  do {
    got = ::pread(file, bytes, count, offset);
  } while (got < 0 && errno == EINTR);
  return got;
}

// All of `count` bytes at `offset`; false where the file ends before or cannot be read.
inline bool read_whole(int file, char* bytes, uint64_t count, uint64_t offset) {
  while (count > 0) {
    const ssize_t got = read_some(file, bytes, static_cast<size_t>(count), static_cast<off_t>(offset));
    if (got <= 0) {
      return false;
    }
    bytes += got;
    count -= static_cast<uint64_t>(got);
    offset += static_cast<uint64_t>(got);
  }
  return true;
}

}  // namespace demask

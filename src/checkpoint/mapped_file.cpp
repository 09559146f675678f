#include "checkpoint/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <functional>

#include "core/error.h"

namespace demask {
namespace {

FileIdentity identity_of(const struct stat& status) {
  return {status.st_dev, status.st_ino, static_cast<uint64_t>(status.st_size), status.st_mtim.tv_sec,
          status.st_mtim.tv_nsec};
}

}  // namespace

bool FileIdentity::operator==(const FileIdentity& other) const {
  return device == other.device && number == other.number && size == other.size && seconds == other.seconds &&
         nanoseconds == other.nanoseconds;
}

MappedFile::MappedFile(const std::string& path, const InputFileKind& kind) : path_(path) {
  uint64_t size = 0;
  open_input_file(path, kind, size);
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat status {};
  // The size of the file that is open now, should another have taken its name.
  const bool known = descriptor_ >= 0 && ::fstat(descriptor_, &status) == 0 && status.st_size > 0;
  void* address = MAP_FAILED;
  if (known) {
    size_ = static_cast<size_t>(status.st_size);
    identity_ = identity_of(status);
    address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor_, 0);
  }
  if (address == MAP_FAILED) {
    const std::string reason = std::strerror(errno);
    if (descriptor_ >= 0) {
      ::close(descriptor_);
    }
    fail(ExitCode::bad_input, "{} '{}' cannot be read: {}.", kind.what, path, reason);
  }
  address_ = address;
}

MappedFile::~MappedFile() {
  ::munmap(address_, size_);
  ::close(descriptor_);
}

void MappedFile::check_whole() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0 || static_cast<size_t>(status.st_size) < size_) {
    fail(ExitCode::bad_input, "'{}' has become shorter while it was read. Wait until it is written, and start again.",
         path_);
  }
}

void MappedFile::check_unchanged() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0 || !(identity_of(status) == identity_)) {
    fail(ExitCode::bad_input, "'{}' was written to while it was in use. Wait until it is written, and start again.",
         path_);
  }
}

void MappedFile::drop(std::string_view part) const noexcept {
  const char* const first = static_cast<const char*>(address_);
  if (std::less<>()(part.data(), first) || std::less<>()(first + size_, part.data() + part.size())) {
    return;
  }
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(part.data()) + page - 1) / page * page;
  const auto end = reinterpret_cast<uintptr_t>(part.data() + part.size()) / page * page;
  if (begin < end) {
    ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }
}

}  // namespace demask

// A file as memory that the kernel reads from the page cache when it is looked at.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/input_file.h"

namespace demask {

// Which file it is and when it was last written to.
struct FileIdentity {
  uint64_t device = 0, number = 0, size = 0;
  int64_t seconds = 0, nanoseconds = 0;

  bool operator==(const FileIdentity& other) const;
};

class MappedFile {
 public:
  // Throws Error(bad_input) as open_input_file does, and where the file cannot be mapped.
  MappedFile(const std::string& path, const InputFileKind& kind);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  int descriptor() const { return descriptor_; }
  const FileIdentity& identity() const { return identity_; }  // when it was mapped

  // Must not be written to. A file that another program cuts short while it is mapped ends the process with SIGBUS when
  // what is gone is looked at: ask check_whole() before a large part is read, and replace files by renaming others.
  std::string_view bytes() const { return {static_cast<const char*>(address_), size_}; }

  // Throws Error(bad_input) where the file has become shorter than what is mapped.
  void check_whole() const;

  // Throws Error(bad_input) where the file has been written to since it was mapped.
  void check_unchanged() const;

  // Gives the pages that lie wholly within a part back to the kernel; a look at them reads them again. What is no part
  // of the file is left alone.
  void drop(std::string_view part) const noexcept;

 private:
  std::string path_;
  int descriptor_ = -1;
  void* address_ = nullptr;
  size_t size_ = 0;
  FileIdentity identity_;
};

}  // namespace demask

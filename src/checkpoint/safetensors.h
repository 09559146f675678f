// Files of safetensors: the length of a header in eight bytes, the header in JSON, then the tensors' bytes.
// https://github.com/huggingface/safetensors (format)
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/tensor_forward.h"
#include "core/element_type.h"
#include "core/input_file.h"

namespace demask {

class MappedFile;

inline constexpr InputFileKind safetensors_kind{"model file", "Check --out_dir and --checkpoint_name."};

// A tensor as the header describes it, checked against the file.
struct SafetensorsEntry {
  std::string dtype;           // "BF16"
  std::vector<int64_t> shape;  // row by row
  size_t begin = 0;            // in bytes from the end of the header
  size_t end = 0;
};

// True for a file that begins as one of safetensors does; false too where it cannot be read.
bool is_safetensors(const std::string& path);

class SafetensorsFile {
 public:
  // Reads and checks the header and maps the rest. Throws Error(bad_input) that names the file and, where one is at
  // fault, the tensor: a header that is longer than the file or 100 MB, that is not JSON or not of this format; a name
  // that stands twice; a dtype that is not known; a shape whose bytes are not those its offsets give, or overflow;
  // tensors that overlap, leave a gap, or do not end where the file does.
  explicit SafetensorsFile(const std::string& path);
  ~SafetensorsFile();

  const std::string& path() const;
  const std::map<std::string, SafetensorsEntry>& tensors() const { return tensors_; }

  // What a tensor is of: float32, float16 or bfloat16, else Error(bad_input) that names both.
  ElementType element_type(const std::string& name) const;

  // A contiguous tensor on the CPU of that type, defined in stored_tensors.cpp, where LibTorch begins. It lies in the
  // mapped file, which it keeps open, and must not be written to; only where the file puts it at an address that its
  // elements cannot have, it is a copy. See MappedFile for files that shrink.
  at::Tensor read(const std::string& name) const;

  // Gives the pages of a tensor back to the kernel. It stays readable.
  void drop(const std::string& name) const noexcept;

 private:
  [[noreturn]] void refuse(const std::string& why) const;
  void read_header();
  void check_layout() const;
  std::string_view bytes_of(const SafetensorsEntry& entry) const;

  std::shared_ptr<const MappedFile> file_;
  std::map<std::string, SafetensorsEntry> tensors_;
  size_t data_at_ = 0;
};

}  // namespace demask

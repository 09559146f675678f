// The zip file that torch.save and torch.jit.save write: records by name, tensors by where the pickle says they lie.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "core/input_file.h"

namespace at {
class Tensor;  // NOLINT(bugprone-forward-declaration-namespace): LibTorch itself declares another
}

namespace demask {

inline constexpr InputFileKind checkpoint_file{"checkpoint", "Check --out_dir and --checkpoint_name."};

// A tensor as a pickle describes it; nothing here has been checked against the file.
struct StoredTensor {
  std::string storage;  // the record is data/<storage>
  at::ScalarType dtype = at::kFloat;
  int64_t storage_numel = 0;
  int64_t offset = 0;  // in elements, as are the strides
  std::vector<int64_t> sizes;
  std::vector<int64_t> strides;
};

class Archive {
 public:
  // Reads the directory of the archive and no record beyond its few bytes of format markers. Throws Error(bad_input)
  // that names the file: not there, a directory, empty, not a zip, truncated, of another byte order, written by torch
  // before 1.6, or with records that cannot fit in it.
  explicit Archive(const std::string& path);
  ~Archive();
  Archive(const Archive&) = delete;
  Archive& operator=(const Archive&) = delete;

  const std::string& path() const { return path_; }

  // Told by content: torch.jit.save writes constants.pkl and code beside the data.
  bool is_torchscript() const;

  bool has(const std::string& record) const;  // named as below

  // The bytes of a record, named without the archive's folder ("data.pkl").
  // Throws Error(bad_input) where it is missing, compressed or damaged.
  std::string read(const std::string& record) const;

  // Throws Error(bad_input) that names `tensor` as `name` where it does not lie within its record.
  void check(const StoredTensor& tensor, const std::string& name) const;

  // A contiguous tensor on the CPU, of the stored dtype. Reads its record and no other, and of that, where its elements
  // follow one another, no more than these. Checks as above. Not for use by several threads at once.
  at::Tensor read(const StoredTensor& tensor, const std::string& name) const;

 private:
  struct Records;
  std::string path_;
  std::unique_ptr<Records> records_;
};

// The first line of what LibTorch says, without its source location and backtrace.
std::string short_reason(const std::exception& error);

}  // namespace demask

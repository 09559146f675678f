// The zip file that torch.save and torch.jit.save write: records by name, tensors by where the pickle says they lie.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/tensor_forward.h"
#include "core/element_type.h"
#include "core/input_file.h"

namespace demask {

inline constexpr InputFileKind checkpoint_file{"checkpoint", "Check --out_dir and --checkpoint_name."};

// A tensor as a pickle describes it; nothing here has been checked against the file.
struct StoredTensor {
  std::string storage;  // the record is data/<storage>
  ElementType dtype = ElementType::float32;
  int64_t storage_numel = 0;
  int64_t offset = 0;  // in elements, as are the strides
  std::vector<int64_t> sizes;
  std::vector<int64_t> strides;
};

class MappedFile;

class Archive {
 public:
  // Reads the directory of the archive and no record beyond its few bytes of format markers. Throws Error(bad_input)
  // that names the file: not there, a directory, empty, not a zip, truncated, of another byte order, written by torch
  // before 1.6 or in a form of later days, or with records that cannot fit in it.
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

  // The first `count` bytes of a record, into memory of that size. Throws as above, and where it has fewer.
  void read(const std::string& record, char* bytes, size_t count) const;

  // Throws Error(bad_input) that names `tensor` as `name` where it does not lie within its record.
  void check(const StoredTensor& tensor, const std::string& name) const;

  // Where in the file the storage of a tensor begins, in bytes. Checks as above.
  uint64_t storage_begin(const StoredTensor& tensor, const std::string& name) const;

  // A contiguous tensor on the CPU, of the stored dtype. Reads its record and no other. Checks as above. Defined in
  // stored_tensors.cpp, where LibTorch begins.
  at::Tensor read(const StoredTensor& tensor, const std::string& name) const;

  // The same without a copy where the file holds the elements in order: the tensor then lies in the mapped file. It
  // must not be written to, nor kept, for training overwrites its checkpoints in place. See MappedFile.
  at::Tensor look_at(const StoredTensor& tensor, const std::string& name) const;

  // What look_at's tensors lie in.
  std::shared_ptr<const MappedFile> file() const;

  // Gives the pages of a tensor that was looked at back to the kernel.
  void drop(const StoredTensor& tensor) const noexcept;

 private:
  struct Records;
  // The bytes of a record in the mapped file. Throws as read() does.
  std::string_view bytes_of(const std::string& record) const;
  std::string path_;
  std::unique_ptr<Records> records_;
};

}  // namespace demask

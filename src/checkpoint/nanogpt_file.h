// nanoGPT training checkpoints as files: torch.save of {'model', 'model_args', 'config', ...}, read without Python.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/archive.h"
#include "checkpoint/model_args.h"
#include "checkpoint/tensor_forward.h"

namespace demask {

// Turns each tensor, as it is read, into what the caller keeps (another dtype or device).
using ParameterConversion = std::function<at::Tensor(at::Tensor)>;

// A checkpoint whose tensors are read one by one.
class NanoGptFile {
 public:
  // Runs no code and reads no tensor. Throws Error(bad_input) that names the file and, for tensors, lists every
  // missing, unexpected and misshapen one.
  explicit NanoGptFile(const std::string& path);

  const ModelArgs& args() const { return args_; }
  const std::optional<std::string>& dataset() const { return dataset_; }
  std::vector<std::string> names() const;  // of the parameters, as expected_parameters has them

  // The parameters by name, as they are stored.
  const std::map<std::string, StoredTensor>& tensors() const { return tensors_; }

  // Where in the file the storage of a parameter begins, in bytes. Throws Error(bad_input) where it is not within it.
  uint64_t storage_begin(const std::string& name) const { return archive_.storage_begin(tensors_.at(name), name); }

  // A parameter, converted. Throws Error(bad_input) where its record is damaged or it holds NaN or an infinity. Defined
  // in nanogpt_checkpoint.cpp, where LibTorch begins.
  at::Tensor read(const std::string& name, const ParameterConversion& convert) const;

  // What `convert` gives as it is stored has been found finite by it, or is still to be looked at.
  enum class AsStored { unchecked, checked };

  // The same for callers that make something else of it at once: the tensor may lie in the mapped file, see
  // Archive::look_at. drop() gives its pages back.
  at::Tensor look_at(const std::string& name, const ParameterConversion& convert,
                     AsStored as_stored = AsStored::unchecked) const;
  // The same of `count` of its rows from `first` on.
  at::Tensor look_at_rows(const std::string& name, int64_t first, int64_t count, const ParameterConversion& convert,
                          AsStored as_stored = AsStored::unchecked) const;
  std::shared_ptr<const MappedFile> mapped() const { return archive_.file(); }
  void drop(const std::string& name) const noexcept { archive_.drop(tensors_.at(name)); }

 private:
  void check(const at::Tensor& converted, const at::Tensor& stored, const std::string& name) const;

  Archive archive_;
  std::map<std::string, StoredTensor> tensors_;
  ModelArgs args_;
  std::optional<std::string> dataset_;
};

}  // namespace demask

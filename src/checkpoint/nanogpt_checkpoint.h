// nanoGPT training checkpoints: torch.save of {'model', 'model_args', 'config', ...}, read without Python.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/archive.h"
#include "checkpoint/model_args.h"

namespace demask {

struct NanoGptCheckpoint {
  ModelArgs args;
  std::map<std::string, at::Tensor>
      parameters;                      // state-dict name, prefix stripped, to tensor on the CPU, in the file's dtype
  std::optional<std::string> dataset;  // config['dataset']
};

// Turns each tensor, as it is read, into what the caller keeps (another dtype or device).
using ParameterConversion = std::function<at::Tensor(at::Tensor)>;

// A checkpoint whose tensors are read one by one.
class NanoGptFile {
 public:
  // Runs no code and reads no tensor. Throws Error(bad_input) that names the file and, for tensors, lists every
  // missing, unexpected and misshapen one.
  explicit NanoGptFile(const std::string& path);
  ~NanoGptFile();
  NanoGptFile(const NanoGptFile&) = delete;
  NanoGptFile& operator=(const NanoGptFile&) = delete;

  const ModelArgs& args() const { return args_; }
  const std::optional<std::string>& dataset() const { return dataset_; }
  std::vector<std::string> names() const;  // of the parameters, as expected_parameters has them

  const std::map<std::string, StoredTensor>& tensors() const;  // the parameters by name, as they are stored

  // A parameter, converted. Throws Error(bad_input) where its record is damaged or it holds NaN or an infinity.
  at::Tensor read(const std::string& name, const ParameterConversion& convert = {}) const;
  // The same of `count` of its rows from `first` on; reads no others where these are sound and lie together.
  at::Tensor read_rows(const std::string& name, int64_t first, int64_t count,
                       const ParameterConversion& convert = {}) const;

 private:
  struct Stored;
  std::unique_ptr<const Stored> stored_;
  ModelArgs args_;
  std::optional<std::string> dataset_;
};

// Reads the whole checkpoint at `path`, no optimizer state, and holds at most one unconverted tensor at a time. Throws
// as NanoGptFile does.
NanoGptCheckpoint read_nanogpt_checkpoint(const std::string& path, const ParameterConversion& convert = {});

}  // namespace demask

// Opens a checkpoint of any kind as a LanguageModel, telling the kinds apart by content: a model's folder or a file of
// safetensors beside its config.json, a TorchScript module, a training checkpoint.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "checkpoint/finite_ahead.h"
#include "model/language_model.h"
#include "model/model_info.h"

namespace demask {

struct LoadOptions {
  at::Device device = at::kCPU;
  at::ScalarType dtype = at::kFloat;           // of weights and activations; kChar: products in int8, for the CPU
  std::optional<at::ScalarType> module_dtype;  // the same where a TorchScript module runs as it is, if another
  bool compile = false;                        // freeze and optimise TorchScript for inference
  bool batch_invariant = true;                 // see Transformer
  bool native = true;  // run a TorchScript module that proves to be nanoGPT's GPT as Transformer
  // Called, where it is not empty, with what the file of a native model says, before its weights are read.
  std::function<void(const ModelInfo&)> on_known = {};
  // That are to come, where there are few: see TransformerOnCpu::make.
  std::optional<int64_t> forwards = {};
  std::shared_ptr<const FiniteAhead> finite = {};  // of the file, where it was looked at
  int64_t length = 0;  // of the texts to come, where that is known: a traced module may run at this length only
};

// Throws Error(bad_input) that names `path`: not there, empty, truncated, not a checkpoint, or one that demask refuses.
std::unique_ptr<LanguageModel> load_model(const std::string& path, const LoadOptions& options);

}  // namespace demask

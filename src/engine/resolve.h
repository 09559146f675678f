// Turns configuration values into what they stand for: a device, a precision, paths, the mask token, forbidden ids.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "config/model_paths.h"
#include "model/language_model.h"
#include "text/vocabulary.h"

namespace demask {

// One or more, those that a number names in that order. Of CUDA devices that no number names, all that are like the
// first: others would give other bits. Throws Error(bad_usage) where a device is not here.
std::vector<at::Device> resolve_devices(const std::string& device);

// "cpu", "cuda:1", "cuda:0,1": as the setting spells them.
std::string name_of(const std::vector<at::Device>& devices);

// None where demask is to choose.
std::optional<at::ScalarType> named_dtype(Precision dtype);

// Precisions of models that demask runs natively, and of TorchScript modules that run as they are.
struct Dtypes {
  at::ScalarType native = at::kFloat;
  at::ScalarType module = at::kFloat;
};

// "auto" is bfloat16 where the device multiplies in it, on the CPU for native models only: LibTorch's own operations
// gain little there. Otherwise it is float16 on CUDA and float32 on the CPU. A GPU that does not multiply in bfloat16
// goes on in float32 where that is asked for, with a notice. Throws Error(bad_usage) where the device does not compute
// in that precision.
Dtypes resolve_dtype(Precision dtype, at::Device device, bool multiplies_bfloat16);

// A precision as users spell it.
const char* dtype_name(at::ScalarType dtype);

// Throws Error(bad_input) where the vocabulary has ids that the model does not; says in a notice where the model has
// many more, beyond what pads it.
void check_vocabulary(const Vocabulary& vocabulary, const std::string& vocabulary_path, const ModelInfo& model,
                      const std::string& checkpoint);

// The flag, else what the model's checkpoint says, else the vocabulary (for characters the other way round), else the
// first id past the vocabulary. None where the model has no such row. Throws Error(bad_usage) where the flag names an
// id that the model does not have.
std::optional<int64_t> resolve_mask_token(std::optional<int64_t> flag, const Vocabulary& vocabulary,
                                          const ModelInfo& model);

// Ids that may be sampled: those with text, but neither the mask nor special tokens other than the end of text.
std::vector<int64_t> allowed_tokens(const Vocabulary& vocabulary, std::optional<int64_t> mask_token_id);

// [outputs] float32 on `device`: 0 for the allowed ids, -infinity for all others.
at::Tensor forbidden_bias(const std::vector<int64_t>& allowed, int64_t outputs, at::Device device);

}  // namespace demask

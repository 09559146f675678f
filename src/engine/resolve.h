// Turns configuration values into what they stand for: a device, a precision, forbidden ids, the edges of words.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "config/model_paths.h"
#include "sampling/words.h"
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
std::string dtype_name(at::ScalarType dtype);

// [outputs] float32 on `device`: 0 for the allowed ids, -infinity for all others.
at::Tensor forbidden_bias(const std::vector<int64_t>& allowed, int64_t outputs, at::Device device);

// Of the ids below `outputs`, on `device`. Special tokens and ids without text belong to no word.
WordEdges word_edges(const Vocabulary& vocabulary, int64_t outputs, at::Device device);

}  // namespace demask

// Models with random weights, for times that depend on the shape alone.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

#include "checkpoint/nanogpt_checkpoint.h"

namespace demask::bench {

// Parameters as nanoGPT initialises them, the same each time.
NanoGptCheckpoint random_checkpoint(const ModelArgs& args, at::Device device, at::ScalarType dtype);

// The path of the base model: 6 layers, 6 heads, 384 wide, with biases, rotary, bidirectional, block 1024, of the
// characters of data/char_diffusion. Its folder is written on the first call and removed when the process ends.
const std::string& random_base_model();

}  // namespace demask::bench

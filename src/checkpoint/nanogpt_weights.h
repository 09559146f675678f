// A nanoGPT checkpoint as a transformer of the field.
#pragma once

#include <c10/core/TensorOptions.h>

#include <memory>
#include <string>

#include "checkpoint/finite_ahead.h"
#include "checkpoint/nanogpt_checkpoint.h"
#include "checkpoint/transformer.h"
#include "checkpoint/weight_source.h"

namespace demask {

// The weights share the parameters' memory. Sources: Radford et al. 2019 (GPT-2); Karpathy's nanoGPT (names).
TransformerWeights nanogpt_weights(const NanoGptCheckpoint& checkpoint);

// The weights of the checkpoint at `path` in the dtype and on the device of `options`, read from the file as they are
// asked for. What `finite` knows of, which may be null, is not looked at again where it is lent. Throws as NanoGptFile
// does.
std::unique_ptr<WeightSource> open_nanogpt(const std::string& path, const at::TensorOptions& options,
                                           std::shared_ptr<const FiniteAhead> finite = {});

}  // namespace demask

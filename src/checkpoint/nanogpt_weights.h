// A nanoGPT checkpoint as a transformer of the field.
#pragma once

#include "checkpoint/nanogpt_checkpoint.h"
#include "checkpoint/transformer.h"

namespace demask {

// The weights share the parameters' memory. Sources: Radford et al. 2019 (GPT-2); Karpathy's nanoGPT (names).
TransformerWeights nanogpt_weights(const NanoGptCheckpoint& checkpoint);

}  // namespace demask

// MDLM's modulations folded into the tensors that they modulate, and the other way.
#pragma once

#include <string>

#include "checkpoint/family_tensors.h"

namespace demask {

// As adjustments() and extra_tensors() have them.
AdjustmentOf mdlm_adjustments(const std::string& prefix, ReadTensor read);
NamedTensors mdlm_extra_tensors(const TransformerWeights& weights);

}  // namespace demask

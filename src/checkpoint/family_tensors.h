// The arithmetic of families whose tensors must be computed with before they are those of a transformer.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/families/family.h"
#include "checkpoint/transformer.h"
#include "checkpoint/weight_plan.h"

namespace demask {

// A stored tensor by its name, in the file's dtype.
using ReadTensor = std::function<at::Tensor(const std::string&)>;

// Makes what a transformer takes from what is stored; from nothing, where the plan has no slices. May be empty.
using Adjustment = std::function<at::Tensor(const at::Tensor& stored)>;
using AdjustmentOf = std::function<Adjustment(const PlannedTensor& planned)>;

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

// The adjustment of each tensor of a family's plan; empty ones where tensors are taken as they are stored. `prefix`
// begins the names of what is read.
AdjustmentOf adjustments(const Family& family, const std::string& prefix, ReadTensor read);

// The other way: what such a family stores beside the tensors of the plan.
NamedTensors extra_tensors(const Family& family, const TransformerWeights& weights);

// Where a planned tensor belongs. Its layer must be there.
at::Tensor& place_of(const PlannedTensor& planned, TransformerWeights& weights);

}  // namespace demask

// Which stored tensors make up each tensor of a transformer: one list for reading a model's folder and for writing it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/compare_tensors.h"
#include "checkpoint/families/family.h"
#include "checkpoint/transformer.h"

namespace demask {

// Members of TransformerWeights and LayerWeights.
enum class TensorRole {
  token_embedding,
  position_embedding,
  attention_norm,
  query_key_value,
  query_norm,
  key_norm,
  attention_projection,
  feed_forward_norm,
  expand,
  contract,
  final_norm,
  head,
};

struct StoredSlice {
  std::string name;
  std::vector<int64_t> shape;  // as stored
};

struct PlannedTensor {
  TensorRole role = TensorRole::token_embedding;
  std::optional<int64_t> layer;
  bool is_bias = false;
  at::Tensor* tensor = nullptr;     // where it belongs
  std::vector<StoredSlice> slices;  // whose rows follow one another; none: `adjust` makes the tensor
  bool transposed = false;          // stored as [in, out]
  std::function<at::Tensor(const at::Tensor& stored)> adjust;  // may be empty
};

// A stored tensor by its name, in the file's dtype.
using ReadTensor = std::function<at::Tensor(const std::string&)>;

struct WeightPlan {
  ReadTensor read;
  std::vector<PlannedTensor> tensors;
  NamedShapes others;  // stored tensors that `adjust` looks at
};

// The name of the head's weight.
std::string head_weight_name(const Family& family, const std::string& prefix);

// The plan of all tensors of `architecture`, with places in `weights`, which must outlive the plan and whose layers are
// made. A tied head has no part of its own. `prefix` is one of the family's; `read` may be empty for a plan of writing.
WeightPlan plan_weights(const Family& family, const Architecture& architecture, const std::string& prefix,
                        TransformerWeights& weights, ReadTensor read = {});

}  // namespace demask

// Which stored tensors make up each tensor of a transformer: one list for reading a model's folder and for writing it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/compare_tensors.h"
#include "checkpoint/families/family.h"
#include "checkpoint/transformer_description.h"

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
  std::vector<StoredSlice>
      slices;               // their rows follow one another; none where the family's arithmetic makes the tensor
  bool transposed = false;  // stored as [in, out]
};

struct WeightPlan {
  std::vector<PlannedTensor> tensors;
  NamedShapes others;  // stored tensors that the family's arithmetic looks at
};

// The name of the head's weight.
std::string head_weight_name(const Family& family, const std::string& prefix);

// The plan of all tensors of `architecture`. A tied head has no part of its own. `prefix` is one of the family's.
WeightPlan plan_weights(const Family& family, const Architecture& architecture, const std::string& prefix);

}  // namespace demask

#include "checkpoint/weight_plan.h"

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace demask {
namespace {

class Planner {
 public:
  Planner(const Family& family, const Architecture& architecture, const std::string& prefix, WeightPlan& plan)
      : names_(family.names), architecture_(architecture), prefix_(prefix), plan_(plan) {}

  void plan(TransformerWeights& weights) {
    const TransformerDescription& description = architecture_.description;
    embedding(TensorRole::token_embedding, names_.token_embedding, description.vocabulary_size,
              weights.token_embedding);
    if (!description.rotary) {
      embedding(TensorRole::position_embedding, names_.position_embedding, description.block_size,
                weights.position_embedding);
    }
    for (size_t number = 0; number < weights.layers.size(); ++number) {
      layer_ = static_cast<int64_t>(number);
      plan_layer(weights.layers[number]);
    }
    layer_ = std::nullopt;
    norm(TensorRole::final_norm, names_.final_norm, description.width, architecture_.biases.norms, weights.final_norm);
    if (!description.tied_head) {
      head(weights.head);
    }
  }

 private:
  // Rows of one module, of several that belong to one tensor.
  struct Rows {
    std::string_view module;
    int64_t count;
  };

  std::string name(std::string_view module) const {
    return layer_ ? fmt::format("{}{}.{}.{}", prefix_, names_.layers, *layer_, module)
                  : fmt::format("{}{}", prefix_, module);
  }

  PlannedTensor& add(TensorRole role, bool is_bias, at::Tensor& tensor) {
    PlannedTensor planned;
    planned.role = role;
    planned.layer = layer_;
    planned.is_bias = is_bias;
    planned.tensor = &tensor;
    return plan_.tensors.emplace_back(std::move(planned));
  }

  void embedding(TensorRole role, std::string_view tensor_name, int64_t rows, at::Tensor& tensor) {
    add(role, false, tensor).slices = {{name(tensor_name), {rows, architecture_.description.width}}};
  }

  void norm(TensorRole role, std::string_view module, int64_t width, bool with_bias, NormWeights& weights) {
    add(role, false, weights.weight).slices = {{name(module) + ".weight", {width}}};
    if (with_bias) {
      add(role, true, weights.bias).slices = {{name(module) + ".bias", {width}}};
    }
  }

  void linear(TensorRole role, const std::vector<Rows>& rows, int64_t inputs, bool with_bias, LinearWeights& weights) {
    PlannedTensor& weight = add(role, false, weights.weight);
    weight.transposed = names_.transposed;
    for (const auto& [module, count] : rows) {
      const std::vector<int64_t> shape =
          names_.transposed ? std::vector<int64_t>{inputs, count} : std::vector<int64_t>{count, inputs};
      weight.slices.push_back({name(module) + ".weight", shape});
    }
    if (with_bias) {
      PlannedTensor& bias = add(role, true, weights.bias);
      for (const auto& [module, count] : rows) {
        bias.slices.push_back({name(module) + ".bias", {count}});
      }
    }
  }

  void plan_layer(LayerWeights& layer) {
    const TransformerDescription& description = architecture_.description;
    const Biases& biases = architecture_.biases;
    const int64_t width = description.width;
    const int64_t queries = description.heads * description.head_width;
    const int64_t keys = description.key_value_heads * description.head_width;
    const int64_t hidden = description.feed_forward_width;

    norm(TensorRole::attention_norm, names_.attention_norm, width, biases.norms, layer.attention_norm);
    const auto& qkv = names_.query_key_value;
    const std::vector<Rows> qkv_rows = qkv.size() == 3
                                           ? std::vector<Rows>{{qkv[0], queries}, {qkv[1], keys}, {qkv[2], keys}}
                                           : std::vector<Rows>{{qkv[0], queries + 2 * keys}};
    linear(TensorRole::query_key_value, qkv_rows, width, biases.query_key_value, layer.query_key_value);
    if (architecture_.query_key_norms) {
      norm(TensorRole::query_norm, names_.query_norm, description.head_width, false, layer.query_norm);
      norm(TensorRole::key_norm, names_.key_norm, description.head_width, false, layer.key_norm);
    }
    linear(TensorRole::attention_projection, {{names_.attention_projection, width}}, queries,
           biases.attention_projection, layer.attention_projection);

    norm(TensorRole::feed_forward_norm, names_.feed_forward_norm, width, biases.norms, layer.feed_forward_norm);
    std::vector<Rows> expand_rows;
    const int64_t expanded = description.gated ? 2 * hidden : hidden;
    for (const std::string_view module : names_.expand) {
      expand_rows.push_back({module, expanded / static_cast<int64_t>(names_.expand.size())});
    }
    linear(TensorRole::expand, expand_rows, width, biases.feed_forward, layer.expand);
    linear(TensorRole::contract, {{names_.contract, width}}, hidden, biases.feed_forward, layer.contract);
  }

  void head(LinearWeights& weights) {
    const std::string module = (names_.head_has_prefix ? prefix_ : "") + std::string(names_.head);
    const int64_t outputs = architecture_.description.outputs;
    add(TensorRole::head, false, weights.weight).slices = {
        {module + ".weight", {outputs, architecture_.description.width}}};
    if (architecture_.biases.head) {
      add(TensorRole::head, true, weights.bias).slices = {{module + ".bias", {outputs}}};
    }
  }

  const TensorNames& names_;
  const Architecture& architecture_;
  const std::string& prefix_;
  WeightPlan& plan_;
  std::optional<int64_t> layer_;
};

}  // namespace

std::string head_weight_name(const Family& family, const std::string& prefix) {
  return (family.names.head_has_prefix ? prefix : "") + std::string(family.names.head) + ".weight";
}

WeightPlan plan_weights(const Family& family, const Architecture& architecture, const std::string& prefix,
                        TransformerWeights& weights, ReadTensor read) {
  WeightPlan plan;
  plan.read = std::move(read);
  Planner(family, architecture, prefix, plan).plan(weights);
  if (family.adapt != nullptr) {
    family.adapt(architecture, prefix, plan);
  }
  return plan;
}

}  // namespace demask

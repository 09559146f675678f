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

  void plan() {
    const TransformerDescription& description = architecture_.description;
    embedding(TensorRole::token_embedding, names_.token_embedding, description.vocabulary_size);
    if (!description.rotary) {
      embedding(TensorRole::position_embedding, names_.position_embedding, description.block_size);
    }
    for (int64_t number = 0; number < description.layers; ++number) {
      layer_ = number;
      plan_layer();
    }
    layer_ = std::nullopt;
    norm(TensorRole::final_norm, names_.final_norm, description.width, architecture_.biases.norms);
    if (!description.tied_head) {
      head();
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

  PlannedTensor& add(TensorRole role, bool is_bias) {
    PlannedTensor planned;
    planned.role = role;
    planned.layer = layer_;
    planned.is_bias = is_bias;
    return plan_.tensors.emplace_back(std::move(planned));
  }

  void embedding(TensorRole role, std::string_view tensor_name, int64_t rows) {
    add(role, false).slices = {{name(tensor_name), {rows, architecture_.description.width}}};
  }

  void norm(TensorRole role, std::string_view module, int64_t width, bool with_bias) {
    add(role, false).slices = {{name(module) + ".weight", {width}}};
    if (with_bias) {
      add(role, true).slices = {{name(module) + ".bias", {width}}};
    }
  }

  void linear(TensorRole role, const std::vector<Rows>& rows, int64_t inputs, bool with_bias) {
    PlannedTensor& weight = add(role, false);
    weight.transposed = names_.transposed;
    for (const auto& [module, count] : rows) {
      const std::vector<int64_t> shape =
          names_.transposed ? std::vector<int64_t>{inputs, count} : std::vector<int64_t>{count, inputs};
      weight.slices.push_back({name(module) + ".weight", shape});
    }
    if (with_bias) {
      PlannedTensor& bias = add(role, true);
      for (const auto& [module, count] : rows) {
        bias.slices.push_back({name(module) + ".bias", {count}});
      }
    }
  }

  void plan_layer() {
    const TransformerDescription& description = architecture_.description;
    const Biases& biases = architecture_.biases;
    const int64_t width = description.width;
    const int64_t queries = description.heads * description.head_width;
    const int64_t keys = description.key_value_heads * description.head_width;
    const int64_t hidden = description.feed_forward_width;

    norm(TensorRole::attention_norm, names_.attention_norm, width, biases.norms);
    const auto& qkv = names_.query_key_value;
    const std::vector<Rows> qkv_rows = qkv.size() == 3
                                           ? std::vector<Rows>{{qkv[0], queries}, {qkv[1], keys}, {qkv[2], keys}}
                                           : std::vector<Rows>{{qkv[0], queries + 2 * keys}};
    linear(TensorRole::query_key_value, qkv_rows, width, biases.query_key_value);
    if (architecture_.query_key_norms) {
      norm(TensorRole::query_norm, names_.query_norm, description.head_width, false);
      norm(TensorRole::key_norm, names_.key_norm, description.head_width, false);
    }
    linear(TensorRole::attention_projection, {{names_.attention_projection, width}}, queries,
           biases.attention_projection);

    norm(TensorRole::feed_forward_norm, names_.feed_forward_norm, width, biases.norms);
    std::vector<Rows> expand_rows;
    const int64_t expanded = description.gated ? 2 * hidden : hidden;
    for (const std::string_view module : names_.expand) {
      expand_rows.push_back({module, expanded / static_cast<int64_t>(names_.expand.size())});
    }
    linear(TensorRole::expand, expand_rows, width, biases.feed_forward);
    linear(TensorRole::contract, {{names_.contract, width}}, hidden, biases.feed_forward);
  }

  void head() {
    const std::string module = (names_.head_has_prefix ? prefix_ : "") + std::string(names_.head);
    const int64_t outputs = architecture_.description.outputs;
    add(TensorRole::head, false).slices = {{module + ".weight", {outputs, architecture_.description.width}}};
    if (architecture_.biases.head) {
      add(TensorRole::head, true).slices = {{module + ".bias", {outputs}}};
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

WeightPlan plan_weights(const Family& family, const Architecture& architecture, const std::string& prefix) {
  WeightPlan plan;
  Planner(family, architecture, prefix, plan).plan();
  if (family.adapt != nullptr) {
    family.adapt(architecture, prefix, plan);
  }
  return plan;
}

}  // namespace demask

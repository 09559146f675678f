// A family of models: how its config.json describes a transformer, and what its tensors are called. A family that mixes
// known parts in a new way is a table of names and two functions that read and write its fields.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/families/architecture.h"

namespace demask {

class ConfigReader;
struct WeightPlan;

// Names of a family's tensors. Those of modules go on with ".weight" and ".bias".
struct TensorNames {
  std::vector<std::string_view> prefixes;  // one of these begins the names; the first where demask writes a model
  std::string_view token_embedding;        // with ".weight", should it have that
  std::string_view position_embedding;     // empty where the family has none
  std::string_view layers;                 // "h": a layer's modules are h.0.NAME, h.1.NAME ...

  std::string_view attention_norm;
  std::vector<std::string_view> query_key_value;  // modules whose rows follow one another: one or three
  std::string_view query_norm;                    // empty where the family has none
  std::string_view key_norm;
  std::string_view attention_projection;
  std::string_view feed_forward_norm;
  std::vector<std::string_view> expand;  // one, or gate and up
  std::string_view contract;

  std::string_view final_norm;
  std::string_view head;
  bool head_has_prefix = false;
  bool transposed = false;                // the weights of the layers' linear modules are [in, out]
  std::vector<std::string_view> buffers;  // ends of the names of tensors that are no weights
};

struct Family {
  std::string_view name;                        // of TransformerDescription
  std::string_view model_type;                  // in config.json
  std::vector<std::string_view> architectures;  // in config.json; the first where demask writes a model
  TensorNames names;
  Architecture (*read_config)(const ConfigReader& config);
  nlohmann::ordered_json (*write_config)(const Architecture& architecture);

  // Null unless the stored tensors are not used as they are (family_tensors.h). Edits the plan: which stored tensors
  // make up each weight. `prefix` begins their names.
  void (*adapt)(const Architecture& architecture, const std::string& prefix, WeightPlan& plan) = nullptr;
};

}  // namespace demask

#include "checkpoint/model_args.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <optional>
#include <string_view>

#include "checkpoint/pickle.h"
#include "core/error.h"
#include "core/text.h"

namespace demask {
namespace {

using namespace std::string_view_literals;
using Kind = PickleValue::Kind;

// Keys that ModelArgsReader::read reads.
constexpr std::array read_keys = {"n_layer"sv,        "n_head"sv,
                                  "n_embd"sv,         "block_size"sv,
                                  "vocab_size"sv,     "bias"sv,
                                  "attention_type"sv, "position_encoding"sv,
                                  "mask_token_id"sv,  "binary_classification"sv};

// Keys of nanoGPT and its forks that say how a model is trained, initialised or run fast, and not what it computes.
// Whether weights are tied shows in the weights.
constexpr std::array keys_without_effect = {"dropout"sv,
                                            "dropout_rate"sv,
                                            "dropout_p"sv,
                                            "attn_dropout"sv,
                                            "attn_pdrop"sv,
                                            "resid_dropout"sv,
                                            "resid_pdrop"sv,
                                            "embd_dropout"sv,
                                            "embd_pdrop"sv,
                                            "mlp_dropout"sv,
                                            "device"sv,
                                            "dtype"sv,
                                            "compile"sv,
                                            "flash"sv,
                                            "flash_attn"sv,
                                            "use_flash"sv,
                                            "use_flash_attention"sv,
                                            "gradient_checkpointing"sv,
                                            "init_std"sv,
                                            "initializer_range"sv,
                                            "label_smoothing"sv,
                                            "ignore_index"sv,
                                            "learning_rate"sv,
                                            "weight_decay"sv,
                                            "tie_weights"sv,
                                            "weight_tying"sv,
                                            "tie_word_embeddings"sv};

constexpr const char* export_instead =
    "Export the model as TorchScript from the code that trained it (torch.jit.script or torch.jit.trace, then save), "
    "which demask runs as it is.";

template <typename Array>
bool contains(const Array& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Keys of which demask computes one value only; forks give them several names.
struct Variation {
  std::vector<std::string_view> keys;
  std::string computed;  // "rotary angles to the base 10000"
  std::function<bool(const PickleValue&)> holds;
};

// None, False, 0 and -1 switch a part off.
bool is_off(const PickleValue& value) {
  return value.kind == Kind::none || (value.kind == Kind::boolean && value.integer == 0) ||
         (value.kind == Kind::integer && (value.integer == 0 || value.integer == -1)) ||
         (value.kind == Kind::real && value.real == 0);
}

bool is_number(const PickleValue& value, double number) {
  return (value.kind == Kind::integer && static_cast<double>(value.integer) == number) ||
         (value.kind == Kind::real && value.real == number);
}

// What a value is allowed to be: one number, one number or None, one truth, one of some words.
auto is_only(double only) {
  return [only](const PickleValue& value) { return is_number(value, only); };
}

auto is_or_none(int64_t only) {
  return [only](const PickleValue& value) {
    return value.kind == Kind::none || is_number(value, static_cast<double>(only));
  };
}

auto is_truth(bool only) {
  return [only](const PickleValue& value) { return value.kind == Kind::boolean && (value.integer != 0) == only; };
}

auto is_word(std::vector<std::string_view> allowed) {
  return [allowed = std::move(allowed)](const PickleValue& value) {
    return value.kind == Kind::text && contains(allowed, value.text);
  };
}

// What follows are variations of nanoGPT's architecture to which forks give a name, each with the one that demask
// computes: of sizes, of how a part computes, and parts that demask is without.
std::vector<Variation> varied_sizes(const ModelArgs& args) {
  const int64_t head_width = args.n_embd / args.n_head;
  return {
      {{"n_kv_head", "n_kv_heads", "num_kv_heads", "num_key_value_heads", "n_query_groups"},
       fmt::format("keys and values for each of the {} heads", args.n_head),
       is_or_none(args.n_head)},
      {{"head_dim", "head_size"}, fmt::format("heads of n_embd / n_head = {}", head_width), is_or_none(head_width)},
      {{"n_inner", "d_ff", "ffn_dim", "intermediate_size"},
       "a hidden layer of 4 * n_embd",
       is_or_none(4 * args.n_embd)},
      {{"mlp_ratio", "ffn_mult"}, "a hidden layer of 4 * n_embd", is_only(4)},
      {{"padded_vocab_size"}, "as many tokens as vocab_size", is_or_none(args.vocab_size)},
  };
}

std::vector<Variation> varied_computations(const ModelArgs& args) {
  return {
      {{"rope_theta", "rope_base", "rotary_base", "rotary_theta"}, "rotary angles to the base 10000", is_only(10000)},
      {{"rotary_pct", "rope_pct", "partial_rotary_factor"}, "rotary positions in the whole head", is_only(1)},
      {{"norm_eps", "layer_norm_eps", "layer_norm_epsilon", "ln_eps"},
       "layer norms with an epsilon of 1e-5",
       is_only(1e-5)},
      {{"causal", "is_causal"},
       args.bidirectional ? "attention in both directions, as attention_type says"
                          : "causal attention, for attention_type does not say 'bidirectional'",
       is_truth(!args.bidirectional)},
      {{"rope", "use_rope", "use_rotary"},
       args.rotary ? "rotary positions, as position_encoding says"
                   : "absolute positions, for position_encoding does not say 'rotary'",
       is_truth(args.rotary)},
      {{"act", "act_fn", "activation", "hidden_act"}, "the exact GELU", is_word({"gelu"})},
      {{"norm", "norm_type"}, "layer norms", is_word({"layernorm", "layer_norm", "LayerNorm"})},
  };
}

Variation absent_parts() {
  return {{"softcap",
           "logit_softcap",
           "logits_softcap",
           "attn_softcap",
           "attn_logit_softcapping",
           "final_logit_softcap",
           "final_logit_softcapping",
           "sliding_window",
           "window_size",
           "attention_window",
           "rope_scaling",
           "qk_norm",
           "use_qk_norm",
           "rms_norm",
           "use_rmsnorm",
           "swiglu",
           "use_swiglu",
           "alibi",
           "parallel_residual",
           "moe",
           "use_moe",
           "n_experts",
           "num_experts"},
          "without it",
          is_off};
}

std::optional<Variation> find_variation(std::string_view key, const ModelArgs& args) {
  for (const auto& table : {varied_sizes(args), varied_computations(args), {absent_parts()}}) {
    for (const Variation& variation : table) {
      if (contains(variation.keys, key)) {
        return variation;
      }
    }
  }
  return std::nullopt;
}

class ModelArgsReader {
 public:
  ModelArgsReader(const PickleValue& dict, const std::string& path) : dict_(dict), path_(path) {}

  ModelArgs read() const {
    ModelArgs args;
    args.n_layer = size("n_layer", max_layers);
    args.n_head = size("n_head", max_width);
    args.n_embd = size("n_embd", max_width);
    args.block_size = size("block_size", max_length);
    args.vocab_size = size("vocab_size", max_length);
    args.bias = flag("bias", true);  // as in nanoGPT's GPTConfig
    args.bidirectional = choice("attention_type", "causal", "bidirectional");
    args.rotary = choice("position_encoding", "absolute", "rotary");
    args.binary_classification = flag("binary_classification", false);
    if (find(dict_, "mask_token_id") != nullptr && find(dict_, "mask_token_id")->kind != Kind::none) {
      args.mask_token_id = size("mask_token_id", args.vocab_size - 1, 0);
    }
    if (args.n_embd % args.n_head != 0) {
      refuse(fmt::format("n_embd = {} is not a multiple of n_head = {}", args.n_embd, args.n_head));
    }
    if (args.rotary && args.n_embd / args.n_head % 2 != 0) {
      refuse(
          fmt::format("rotary positions need an even head size, not n_embd / n_head = {}", args.n_embd / args.n_head));
    }
    check_other_keys(args);
    return args;
  }

 private:
  [[noreturn]] void refuse(const std::string& why) const {
    fail(ExitCode::bad_input, "checkpoint '{}', model_args: {}.", path_, why);
  }

  int64_t size(const char* key, int64_t largest, int64_t smallest = 1) const {
    const PickleValue* value = find(dict_, key);
    if (value == nullptr) {
      refuse(fmt::format("'{}' is missing (keys found: {})", key, list_keys(dict_)));
    }
    if (value->kind != Kind::integer || value->integer < smallest || value->integer > largest) {
      refuse(fmt::format("'{}' is {}; expected an integer from {} to {}", key, describe(*value), smallest, largest));
    }
    return value->integer;
  }

  bool flag(const char* key, bool missing) const {
    const PickleValue* value = find(dict_, key);
    if (value == nullptr) {
      return missing;
    }
    const bool is_flag = value->kind == Kind::boolean || (value->kind == Kind::integer && (value->integer | 1) == 1);
    if (!is_flag) {
      refuse(fmt::format("'{}' is {}; expected True or False", key, describe(*value)));
    }
    return value->integer != 0;
  }

  // False for `usual` or a missing key, true for `other`.
  bool choice(const char* key, const char* usual, const char* other) const {
    const PickleValue* value = find(dict_, key);
    if (value == nullptr) {
      return false;
    }
    if (value->kind != Kind::text || (value->text != usual && value->text != other)) {
      refuse(fmt::format("'{}' is {}; expected '{}' or '{}'", key, describe(*value), usual, other));
    }
    return value->text == other;
  }

  // Whatever else model_args says must either not matter or be what demask computes.
  void check_other_keys(const ModelArgs& args) const {
    for (size_t i = 0; i + 1 < dict_.items.size(); i += 2) {
      const PickleValue& key = *dict_.items[i];
      const PickleValue& value = *dict_.items[i + 1];
      if (key.kind != Kind::text) {
        refuse(fmt::format("{} is no name of a setting", describe(key)));
      }
      if (contains(read_keys, key.text) || contains(keys_without_effect, key.text)) {
        continue;
      }
      const std::optional<Variation> known = find_variation(key.text, args);
      if (!known) {
        refuse(fmt::format("demask does not know the key {} ({}), which may change what the model computes. {}",
                           quote(key.text), describe(value), export_instead));
      }
      if (!known->holds(value)) {
        refuse(fmt::format("{} is {}, but demask computes {}. {}", quote(key.text), describe(value), known->computed,
                           export_instead));
      }
    }
  }

  const PickleValue& dict_;
  const std::string& path_;
};

}  // namespace

ModelArgs read_model_args(const PickleValue& dict, const std::string& path) {
  return ModelArgsReader(dict, path).read();
}

std::vector<std::pair<std::string, std::vector<int64_t>>> expected_parameters(const ModelArgs& args) {
  std::vector<std::pair<std::string, std::vector<int64_t>>> parameters;
  const int64_t width = args.n_embd;
  const auto norm = [&](const std::string& name) {
    parameters.push_back({name + ".weight", {width}});
    if (args.bias) {
      parameters.push_back({name + ".bias", {width}});
    }
  };
  const auto linear = [&](const std::string& name, int64_t outputs, int64_t inputs) {
    parameters.push_back({name + ".weight", {outputs, inputs}});
    if (args.bias) {
      parameters.push_back({name + ".bias", {outputs}});
    }
  };

  parameters.push_back({token_embedding_name, {args.vocab_size, width}});
  if (!args.rotary) {
    parameters.push_back({"transformer.wpe.weight", {args.block_size, width}});
  }
  for (int64_t layer = 0; layer < args.n_layer; ++layer) {
    const std::string block = fmt::format("transformer.h.{}.", layer);
    norm(block + "ln_1");
    linear(block + "attn.c_attn", 3 * width, width);
    linear(block + "attn.c_proj", width, width);
    norm(block + "ln_2");
    linear(block + "mlp.c_fc", 4 * width, width);
    linear(block + "mlp.c_proj", width, 4 * width);
  }
  norm("transformer.ln_f");
  if (!args.tied_head) {
    parameters.push_back({head_name, {args.output_size(), width}});
  }
  return parameters;
}

TransformerDescription description_of(const ModelArgs& args) {
  TransformerDescription description;
  description.family = "nanogpt";
  description.layers = args.n_layer;
  description.heads = description.key_value_heads = args.n_head;
  description.head_width = args.n_embd / args.n_head;
  description.width = args.n_embd;
  description.feed_forward_width = 4 * args.n_embd;
  description.block_size = args.block_size;
  description.vocabulary_size = args.vocab_size;
  description.outputs = args.output_size();
  description.rotary = args.rotary;
  description.bidirectional = args.bidirectional;
  description.binary_classification = args.binary_classification;
  description.tied_head = args.tied_head;
  description.mask_token_id = args.mask_token_id;
  return description;
}

}  // namespace demask

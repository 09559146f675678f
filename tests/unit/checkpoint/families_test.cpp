#include "checkpoint/families/families.h"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/families/config_reader.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/process.h"

using Catch::Matchers::ContainsSubstring;
using namespace demask;
using namespace demask::testing;
using nlohmann::json;

namespace {

const std::string family_goldens = std::string(DEMASK_SOURCE_DIR) + "/tests/fixtures/goldens/";
const std::string config_path = "folder/config.json";

json config_of(const std::string& model) {
  return json::parse(read_file(family_goldens + model + "/model/config.json"));
}

Architecture read(const json& config) {
  return find_family(config, config_path).read_config(ConfigReader(config, config_path));
}

// What reading `config` with this field complains about.
std::string refusal(json config, const std::string& field, const json& value) {
  config[field] = value;
  return bad_input_message([&] { read(config); });
}

struct Sizes {
  std::string model;
  std::vector<std::string> required;
  std::vector<std::string> optional;  // null stands for what other fields imply
};

const std::vector<Sizes> sizes{
    {"gpt2", {"n_layer", "n_head", "n_embd", "n_positions", "vocab_size"}, {"n_inner"}},
    {"llada",
     {"n_layers", "n_heads", "d_model", "max_sequence_length", "vocab_size"},
     {"n_kv_heads", "mlp_hidden_size", "embedding_size"}},
    {"dream",
     {"num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size", "max_position_embeddings",
      "vocab_size"},
     {"num_key_value_heads", "head_dim"}},
    {"qwen2", {"num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size", "vocab_size"}, {}},
    {"qwen3", {"num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size", "vocab_size"}, {}},
    {"llama", {"num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size", "vocab_size"}, {}},
    {"mdlm", {"n_blocks", "n_heads", "hidden_dim", "cond_dim", "model_length", "vocab_size"}, {}}};

struct Unsupported {
  std::string model;
  std::string field;
  json value;
};

}  // namespace

TEST_CASE("a size that is missing, of another type, zero, negative or huge is refused by its name") {
  for (const auto& [model, required, optional] : sizes) {
    const json config = config_of(model);
    CAPTURE(model);
    std::vector<std::string> fields = required;
    fields.insert(fields.end(), optional.begin(), optional.end());
    for (const std::string& field : fields) {
      CAPTURE(field);
      for (const json& value : {json("12"), json(2.5), json(true), json(json::array()), json(json::object()), json(0),
                                json(-1), json(int64_t{1} << 62), json(~uint64_t{0}), json(1e300)}) {
        CAPTURE(value.dump());
        CHECK_THAT(
            refusal(config, field, value),
            ContainsSubstring(config_path) && ContainsSubstring("'" + field + "' is " + value.dump() + "; expected"));
      }
    }
    for (const std::string& field : required) {
      CAPTURE(field);
      json lacking = config;
      lacking.erase(field);
      CHECK_THAT(bad_input_message([&] { read(lacking); }), ContainsSubstring("'" + field + "' is missing"));
      CHECK_THAT(refusal(config, field, nullptr), ContainsSubstring("'" + field + "' is missing"));
    }
    for (const std::string& field : optional) {
      CAPTURE(field);
      CHECK(refusal(config, field, nullptr) == "no error");
    }
  }
}

TEST_CASE("an epsilon or a rotary base that no model has is refused by its name") {
  const auto& [model, field] = GENERATE(values<std::pair<std::string, std::string>>({{"gpt2", "layer_norm_epsilon"},
                                                                                     {"llada", "rms_norm_eps"},
                                                                                     {"llada", "rope_theta"},
                                                                                     {"qwen2", "rms_norm_eps"},
                                                                                     {"llama", "rope_theta"}}));
  CAPTURE(model, field);
  for (const json& value : {json("x"), json(0), json(-1e-5), json(1e300), json(true)}) {
    CAPTURE(value.dump());
    CHECK_THAT(refusal(config_of(model), field, value), ContainsSubstring("'" + field + "' is "));
  }
}

TEST_CASE("a field that asks for what demask does not compute is refused by its name") {
  const auto unsupported =
      GENERATE(values<Unsupported>({{"gpt2", "scale_attn_by_inverse_layer_idx", true},
                                    {"gpt2", "scale_attn_weights", false},
                                    {"gpt2", "activation_function", "relu"},
                                    {"gpt2", "activation_function", 3},
                                    {"gpt2", "add_cross_attention", true},
                                    {"gpt2", "n_head", 3},
                                    {"gpt2", "mask_token_id", 400},
                                    {"llada", "alibi", true},
                                    {"llada", "rope", false},
                                    {"llada", "attention_layer_norm", true},
                                    {"llada", "layer_norm_type", "default"},
                                    {"llada", "bias_for_layer_norm", true},
                                    {"llada", "block_type", "sequential"},
                                    {"llada", "block_group_size", 2},
                                    {"llada", "activation_type", "swiglu"},
                                    {"llada", "input_emb_norm", true},
                                    {"llada", "scale_logits", true},
                                    {"llada", "n_kv_heads", 3},
                                    {"llada", "multi_query_attention", true},
                                    {"llada", "embedding_size", 100},
                                    {"llada", "mask_token_id", -1},
                                    {"dream", "use_sliding_window", 1},
                                    {"dream", "hidden_act", "relu"},
                                    {"dream", "num_key_value_heads", 3},
                                    {"qwen2", "quantization_config", {{"bits", 4}}},
                                    {"qwen2", "tie_word_embeddings", "yes"},
                                    {"qwen3", "head_dim", 15},
                                    {"llama", "rope_scaling", {{"rope_type", "yarn"}, {"factor", 4.0}}},
                                    {"llama", "rope_scaling", {{"type", "linear"}, {"factor", 4.0}}},
                                    {"llama", "rope_scaling", {{"rope_type", "llama3"}, {"factor", 8.0}}},
                                    {"llama", "rope_scaling", 8},
                                    {"llama", "partial_rotary_factor", 0.5},
                                    {"llama", "mlp_bias", 1},
                                    {"mdlm", "time_conditioning", true},
                                    {"mdlm", "n_heads", 3}}));
  CAPTURE(unsupported.model, unsupported.field);
  const std::string message = refusal(config_of(unsupported.model), unsupported.field, unsupported.value);
  // Rotary scaling is named by the field in it that is at fault.
  const bool named = message.find("'" + unsupported.field) != std::string::npos ||
                     (unsupported.field == "head_dim" && message.find("heads, not 15") != std::string::npos);
  CAPTURE(message);
  CHECK(named);
}

TEST_CASE("a sliding window counts where it is in use and shorter than the longest text") {
  json config = config_of("qwen2");
  config["use_sliding_window"] = true;
  CHECK(read(config).description.block_size == 512);  // its window is 32768
  CHECK_THAT(refusal(config, "sliding_window", 128), ContainsSubstring("'use_sliding_window'"));
}

TEST_CASE("what a configuration leaves out follows from its other fields") {
  json llada = config_of("llada");
  llada["mlp_hidden_size"] = nullptr;
  llada["n_kv_heads"] = nullptr;
  llada["embedding_size"] = nullptr;
  CHECK(read(llada).description.feed_forward_width == 4 * 64);
  CHECK(read(llada).description.key_value_heads == 4);
  CHECK(read(llada).description.outputs == 357);
  llada["multi_query_attention"] = true;
  CHECK(read(llada).description.key_value_heads == 1);

  json llama = config_of("llama");
  llama.erase("head_dim");
  llama.erase("num_key_value_heads");
  llama.erase("rope_theta");
  CHECK(read(llama).description.head_width == 16);
  CHECK(read(llama).description.key_value_heads == 4);
  CHECK(read(llama).description.rotary_base == 10000);
  CHECK(read(config_of("gpt2")).description.feed_forward_width == 160);
}

TEST_CASE("rotary positions are read as transformers 5 writes them, too") {
  json config = config_of("llama-ropescaled");
  json parameters = config["rope_scaling"];
  parameters["rope_theta"] = config["rope_theta"];
  config.erase("rope_scaling");
  config.erase("rope_theta");
  config["rope_parameters"] = parameters;
  const TransformerDescription description = read(config).description;
  CHECK(description.rotary_base == 500000);
  REQUIRE(description.rotary_scaling);
  CHECK(description.rotary_scaling->factor == 8);
  CHECK(description.rotary_scaling->original_positions == 32);
}

TEST_CASE("mask tokens are those that the configurations name, and MDLM's last id") {
  CHECK(read(config_of("llada")).description.mask_token_id == 352);
  CHECK(read(config_of("dream")).description.mask_token_id == 337);
  CHECK(read(config_of("mdlm")).description.mask_token_id == 341);
  CHECK_FALSE(read(config_of("gpt2")).description.mask_token_id);
}

TEST_CASE("a model of another family is an error that lists those that demask reads") {
  json config = config_of("llama");
  for (const auto& [field, value] : std::vector<std::pair<std::string, json>>{{"model_type", "mamba"},
                                                                              {"model_type", 3},
                                                                              {"model_type", "gpt2"},
                                                                              {"architectures", {"MambaForCausalLM"}},
                                                                              {"architectures", "LlamaForCausalLM"},
                                                                              {"architectures", {1, nullptr}}}) {
    CAPTURE(field, value.dump());
    const std::string message = refusal(config, field, value);
    for (const char* name : {"gpt2", "nanogpt", "llama", "qwen2", "qwen3", "Dream (DreamModel)", "llada", "mdlm"}) {
      CHECK_THAT(message, ContainsSubstring(name));
    }
  }
  config.erase("model_type");
  CHECK(read(config).description.family == "llama");
  config.erase("architectures");
  CHECK_THAT(bad_input_message([&] { read(config); }), ContainsSubstring("demask reads"));
}

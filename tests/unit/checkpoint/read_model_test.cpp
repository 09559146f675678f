#include "checkpoint/read_model.h"

#include <ATen/ATen.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/nanogpt_weights.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"
#include "tests/unit/checkpoint/reference_transformer.h"

using namespace demask;
using namespace demask::testing;
using nlohmann::json;

namespace {

const std::string golden_models = std::string(DEMASK_SOURCE_DIR) + "/tests/fixtures/goldens/";

// Logits that the family's own code computed in float64, at some ids of each position and summed up over all.
void check_logits(const TransformerWeights& weights, const json& expected) {
  constexpr double tolerance = 2e-6;
  const ReferenceTransformer model(weights);
  for (const json& text : expected.at("logits")) {
    const at::Tensor logits = model.logits(text.at("ids").get<std::vector<int64_t>>());
    const auto probes = text.at("probe_ids").get<std::vector<int64_t>>();
    const auto rows = text.at("logits").get<std::vector<std::vector<double>>>();
    REQUIRE(logits.size(0) == static_cast<int64_t>(rows.size()));
    double largest = 0;
    for (size_t position = 0; position < rows.size(); ++position) {
      const at::Tensor row = logits[static_cast<int64_t>(position)];
      for (size_t probe = 0; probe < probes.size(); ++probe) {
        largest = std::max(largest, std::abs(row[probes[probe]].item<double>() - rows[position][probe]));
      }
      largest = std::max(largest,
                         std::abs(row.logsumexp(0).item<double>() - text.at("logsumexp").at(position).get<double>()));
    }
    CHECK(largest < tolerance);
  }
}

json expected_of(const std::string& name) {
  return json::parse(read_file(golden_models + name + "/expected.json"));
}

}  // namespace

TEST_CASE("every family's folder is read so that its own code's logits follow from it") {
  const std::string name = GENERATE("gpt2", "gpt2-sharded", "llada", "llada-gqa", "dream", "qwen2", "qwen3", "llama",
                                    "llama-ropescaled", "mdlm");
  CAPTURE(name);
  const TransformerWeights weights = read_model_folder(golden_models + name + "/model");
  check_logits(weights, expected_of(name));
}

TEST_CASE("nanoGPT's checkpoints give its own code's logits") {
  const std::string name = GENERATE("nanogpt", "nanogpt-nobias");
  CAPTURE(name);
  check_logits(nanogpt_weights(read_nanogpt_checkpoint(golden_models + name + "/model/ckpt.pt")), expected_of(name));
}

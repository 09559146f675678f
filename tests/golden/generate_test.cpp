// Sequences that the field's own scripts generated, token by token: LLaDA's generate, Dream's diffusion_generate, and
// greedy continuations, in tests/fixtures/goldens.
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "demask/sampler.h"
#include "tests/support/catch.h"
#include "tests/support/demask.h"

using demask::Prompt;
using demask::Sample;
using demask::Sampler;
using nlohmann::json;

namespace {

using Arguments = std::vector<std::string>;

std::string golden(const std::string& name) {
  return std::string(DEMASK_SOURCE_DIR) + "/tests/fixtures/goldens/" + name;
}

// LLaDA's options by ours: docs/coming_from.md.
Arguments llada_arguments(const json& entry) {
  return {"--strategy=confidence", "--temperature=0", "--diffusion_iterations=" + entry["steps"].dump(),
          "--block_length=" + entry["block_length"].dump(), "--cfg_scale=" + entry["cfg_scale"].dump()};
}

Arguments dream_arguments(const json& entry) {
  const std::string algorithm = entry["alg"];
  const std::string strategy = algorithm == "maskgit_plus"  ? "confidence"
                               : algorithm == "topk_margin" ? "margin"
                                                            : algorithm;
  Arguments arguments = {"--strategy=" + strategy, "--schedule_type=dream", "--temperature=0",
                         "--diffusion_iterations=" + entry["steps"].dump()};
  for (const std::string filter : {"top_p", "top_k"}) {
    if (!entry[filter].is_null()) {
      arguments.push_back("--" + filter + "=" + entry[filter].dump());
    }
  }
  if (arguments.size() > 4) {
    arguments.push_back("--confidence_source=filtered");
  }
  return arguments;
}

Arguments greedy_arguments(const json& /*entry*/) {
  return {"--sampling_method=standard", "--std_temperature=0"};
}

Prompt prompt_of(const json& entry, bool standard) {
  Prompt prompt;
  prompt.id = "golden";
  prompt.tokens = entry["prompt_ids"].get<std::vector<int64_t>>();
  const auto length = static_cast<int64_t>(entry["output_ids"].size());
  if (standard) {
    prompt.max_new_tokens = length - static_cast<int64_t>(prompt.tokens->size());
  } else {
    prompt.sequence_length = length;
  }
  return prompt;
}

struct Family {
  std::vector<std::string> names;
  Arguments (*arguments)(const json& entry);
  bool standard = false;
};

void check_entry(const std::string& name, const json& entry, const Family& family, const std::string& device) {
  const std::string model = golden(name) + "/model";
  Arguments arguments = family.arguments(entry);
  arguments.insert(arguments.end(), {"--device=" + device, "--dtype=float32", "--num_samples=1",
                                     "--checkpoint_name=" + model + (name.find("nanogpt") == 0 ? "/ckpt.pt" : "")});
  CAPTURE(arguments);
  std::vector<int64_t> tokens;
  Sampler sampler(arguments);
  sampler.draw({prompt_of(entry, family.standard)}, [&](const Sample& sample) { tokens = sample.tokens; });
  CHECK(tokens == entry["output_ids"].get<std::vector<int64_t>>());
}

void check_family(const Family& family) {
  for (const std::string& name : family.names) {
    if (!std::filesystem::exists(golden(name) + "/expected.json")) {
      WARN(name << " is not in tests/fixtures/goldens: its sequences were not compared");
      continue;
    }
    const json expected = json::parse(demask::testing::read_file(golden(name) + "/expected.json"));
    for (const std::string& device : demask::testing::devices()) {
      for (const json& entry : expected["generate"]) {
        check_entry(name, entry, family, device);
      }
    }
  }
}

}  // namespace

TEST_CASE("LLaDA's generate: the same tokens, whatever divides, with guidance and without") {
  check_family({{"llada", "llada-gqa"}, llada_arguments});
}

TEST_CASE("Dream's diffusion_generate: the same tokens, filters included") {
  check_family({{"dream"}, dream_arguments});
}

TEST_CASE("Greedy continuations: the same tokens, also where the text outgrows the block") {
  check_family({{"gpt2", "gpt2-sharded", "llama", "llama-ropescaled", "qwen2", "qwen3", "nanogpt", "nanogpt-nobias"},
                greedy_arguments,
                /*standard=*/true});
}

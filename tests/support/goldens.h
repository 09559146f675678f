// The goldens of the field's models, and the options of the field's own functions as demask's flags.
#pragma once

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/process.h"

namespace demask::testing {

// Folders NAME with `model` and `expected.json`.
inline const std::string goldens = std::string(DEMASK_SOURCE_DIR) + "/tests/fixtures/goldens/";

// What the field's own code makes of a model.
inline nlohmann::json expected_of(const std::string& name) {
  return nlohmann::json::parse(read_file(goldens + name + "/expected.json"));
}

inline std::string strategy_of(const std::string& algorithm) {
  return algorithm == "maskgit_plus" ? "confidence" : algorithm == "topk_margin" ? "margin" : algorithm;
}

// The flags for one entry of its "generate", as docs/coming_from.md gives them; all are at temperature 0.
inline std::vector<std::string> flags_for(const nlohmann::json& run) {
  if (run.contains("new_tokens")) {
    return {"--sampling_method=standard", "--std_temperature=0",
            fmt::format("--max_new_tokens={}", run["new_tokens"].get<int64_t>())};
  }
  const auto prompt = static_cast<int64_t>(run["prompt_ids"].size());
  const int64_t drawn = run.contains("gen_length") ? run["gen_length"] : run["max_new_tokens"];
  std::vector<std::string> flags = {"--temperature=0",
                                    fmt::format("--diffusion_iterations={}", run["steps"].get<int64_t>()),
                                    fmt::format("--sequence_length={}", prompt + drawn)};
  if (run.contains("gen_length")) {  // LLaDA
    flags.insert(flags.end(),
                 {"--strategy=confidence", fmt::format("--block_length={}", run["block_length"].get<int64_t>()),
                  fmt::format("--cfg_scale={}", run["cfg_scale"].get<double>())});
    return flags;
  }
  flags.insert(flags.end(), {"--schedule_type=dream", "--strategy=" + strategy_of(run["alg"])});
  for (const char* filter : {"top_k", "top_p"}) {
    if (!run[filter].is_null()) {
      flags.insert(flags.end(), {fmt::format("--{}={}", filter, run[filter].dump()), "--confidence_source=filtered"});
    }
  }
  return flags;
}

}  // namespace demask::testing

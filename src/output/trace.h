// Traces of samples as JSON: what every step drew, masked again and thought of it. docs/trace.md describes the format.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "demask/sample.h"
#include "output/trace_format.h"
#include "sampling/step_trace.h"
#include "text/vocabulary.h"

namespace demask {

struct TracedSample {
  SampleIdentity identity;  // prompt_id: JSON text; empty where there is no list of prompts
  std::vector<bool> given;  // one a position: true where the prompt gives the token
  double self_confidence = 0.0;
  std::shared_ptr<const StepTrace> steps;
};

// What the samples of a trace have in common.
struct TraceRun {
  std::string method;                  // "diffusion" or "standard"
  std::string title;                   // for people, what tells this run from another
  std::string command;                 // draws the same samples again
  nlohmann::ordered_json header;       // what made the samples, as in a run file
  nlohmann::ordered_json description;  // for people: an array of [label, value]
  std::optional<int64_t> mask_token_id;
};

// The whole trace; samples without `steps` must not be among them.
nlohmann::ordered_json trace_json(const TraceRun& run, const std::vector<TracedSample>& samples,
                                  const Vocabulary& vocabulary);

// As trace_json, as text on one line.
std::string to_text(const nlohmann::ordered_json& trace);

}  // namespace demask

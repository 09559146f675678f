// Measures one case, through the same calls that demask's own run makes.
#pragma once

#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/cases.h"
#include "bench/ceilings.h"
#include "bench/loaded.h"
#include "bench/options.h"

namespace demask::bench {

// Seconds of each draw of all samples of the command line in one batch.
std::vector<double> time_draws(const Loaded& loaded, int64_t repeats);

struct CaseResult {
  std::vector<std::string> arguments;
  std::vector<double> seconds;  // of every repeat
  double load_s = 0;
  int64_t tokens = 0;                   // drawn by one repeat
  int64_t forwards = 0;                 // of one repeat
  double bare_s = 0;                    // the forwards alone
  std::optional<double> limit_s;        // their matrix products alone
  std::optional<double> at_large_rate;  // seconds of the same operations at the large product's rate
  // Draws in turns with those of the script's algorithm in plain operations; both empty where not timed.
  std::vector<double> plain_seconds;
  std::vector<double> seconds_beside_plain;
};

CaseResult run_case(const Case& one, const Options& options, const Ceilings& ceilings);

// Runs the cases, prints a table, and returns everything measured. A case that fails is reported, and the others run.
nlohmann::ordered_json run_cases(const std::vector<Case>& cases, const Options& options, const Ceilings& ceilings,
                                 bool with_anchors, std::FILE* file);

}  // namespace demask::bench

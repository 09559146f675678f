// A row of results in JSON, and the picture's lines from such rows: of this run, or of files that several runs wrote.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

#include "bench/quality/distances.h"
#include "bench/quality/frontier_svg.h"
#include "bench/quality/metrics.h"

namespace demask::quality {

// What is said of the texts of a row.
struct Measured {
  int64_t texts = 0;
  Quality quality;
  Distances distances;
};

// {"judge_nats": {"value": ..., "se": ..., "se_seeds": ...}, ..., "distances": {...}}; null where there is no number.
nlohmann::ordered_json measured_json(const Measured& measured);

// The quality that measured_json wrote. Throws nlohmann::json::exception where a member is missing or of another kind.
Quality quality_of(const nlohmann::ordered_json& measured);

// One line for each strategy and temperature, in the order in which they come first, its points by their
// forwards. Rows that failed have none. Throws as quality_of.
std::vector<FrontierLine> lines_of(const nlohmann::ordered_json& rows);

}  // namespace demask::quality

// Released diffusion models' shapes with random weights, filled block by block behind a prompt, with and without
// caches.
#pragma once

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/options.h"

namespace demask::bench {

// `selection` as in run_shapes, of shapes that see both ways. Prints a row for each of the caches, number of steps and
// of texts, and returns them. Throws Error(bad_usage) where a name fits no such shape.
nlohmann::ordered_json run_blocks(const std::string& selection, const std::vector<std::string>& caches,
                                  const Options& options, std::FILE* file);

}  // namespace demask::bench

// Released models' shapes with random weights: one forward, and decoding a text, beside the large product's rate.
#pragma once

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/ceilings.h"
#include "bench/options.h"
#include "bench/random_weights.h"
#include "checkpoint/transformer.h"

namespace demask::bench {

struct Shape {
  std::string name;
  TransformerDescription description;
  RandomParts parts;
};

// `selection`: names of shapes separated by commas, or "all". Throws Error(bad_usage) where a name fits none.
std::vector<Shape> select_shapes(const std::string& selection);

// Prints a row for each forward and each decoding, and
// returns them. Throws Error(bad_usage) where a name fits no shape.
nlohmann::ordered_json run_shapes(const std::string& selection, const Options& options, const Ceilings& ceilings,
                                  std::FILE* file);

}  // namespace demask::bench

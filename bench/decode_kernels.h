// The kernels of decoding one by one, at GPT-2's 124M shape: where the time of a token goes.
#pragma once

#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "bench/options.h"

namespace demask::bench {

// Prints a row for each kind of kernel and returns them: microseconds of one call among many in a recorded graph, each
// on weights of its own, so that none are in the device's cache. Throws Error(bad_usage) where there is no CUDA device,
// or no kernels of demask's own.
nlohmann::ordered_json run_decode_kernels(int64_t texts, const Options& options, std::FILE* file);

}  // namespace demask::bench

// What every part of the benchmark needs to know about the run.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace demask::bench {

struct Options {
  std::string device_name = "auto";  // as the user gave them
  std::string dtype_name = "auto";
  std::optional<std::string> out_dir;
  std::optional<std::string> data_dir;
  std::string hardware;  // in the user's words
  int64_t repeats = 5;
  std::optional<bool> yardstick_flag;
  bool batch_invariant = true;

  at::Device device = at::kCPU;  // what the names stand for here
  at::ScalarType dtype = at::kFloat;
  bool yardstick = true;  // whether each case is also timed in plain operations
};

// Sets device and dtype from their names, as demask does, and what depends on them. Throws Error(bad_usage) where they
// are not here.
void resolve(Options& options);

// The arguments of demask that the benchmark's own flags turn into.
std::vector<std::string> passed_through(const Options& options);

// As users spell it: "float32", "bfloat16" or "float16".
std::string to_name(at::ScalarType dtype);

}  // namespace demask::bench

#include "bench/cases.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <sstream>
#include <utility>

#include "bench/random_model.h"
#include "core/error.h"

namespace demask::bench {
namespace {

// As out/README.md describes the models; the base model has random weights, see random_model.h.
constexpr ModelShape small_shape{6, 4, 256};
constexpr ModelShape base_shape{6, 6, 384};

constexpr bool on_cuda = true;
constexpr bool on_cpu = false;
constexpr bool random_remasking = false;
constexpr bool intelligent = true;
constexpr const char* traced = "--trace=trace.json";

// Seconds of sample.py, and those to reach, on the same models, measured with PyTorch 2.11 and CUDA 13 on one NVIDIA
// H200 under float16 autocast; the cpu- cases on two cores in float32.
std::vector<Anchor> all_anchors() {
  return {
      {"small-4x512-random", 0.477, 0.025},      {"small-4x512-intelligent", 1.356, 0.045},
      {"small-64x512-random", 1.651, 0.11},      {"small-64x512-intelligent", 19.26, 0.22},
      {"base-4x1024-intelligent", 1.223, 0.07},  {"base-64x1024-random", 2.133, 0.35},
      {"base-64x1024-intelligent", 18.58, 0.70}, {"base-64x1024-random-top_p", 3.031, 0.45},
      {"standard-4x100", 1.068, 0.03},           {"standard-4x400", 5.038, 0.10},
      {"cpu-4x512-random-10", 2.92, 1.5},        {"cpu-4x512-intelligent-10", 6.34, 3.2},
      {"cpu-standard-4x100", 4.63, 0.46},
  };
}

std::vector<std::string> with(std::vector<std::string> arguments, const std::string& more) {
  arguments.push_back(more);
  return arguments;
}

std::vector<std::string> standard_arguments(int64_t new_tokens) {
  return {"--sampling_method=standard", "--checkpoint_name=standard.pt",
          fmt::format("--max_new_tokens={}", new_tokens)};
}

std::vector<Case> all_cases() {
  const std::string small = "diffusion.pt", base = random_base_model();
  const auto plain = diffusion_arguments(small, 512, 50, random_remasking);
  const auto confident = diffusion_arguments(small, 512, 50, intelligent);
  const auto long_plain = diffusion_arguments(base, 1024, 50, random_remasking);
  const auto long_confident = diffusion_arguments(base, 1024, 50, intelligent);
  return {
      {"small-4x512-random", plain, 4, small_shape, on_cuda},
      {"small-4x512-intelligent", confident, 4, small_shape, on_cuda},
      {"small-4x512-random-traced", with(plain, traced), 4, small_shape, on_cuda},
      {"small-4x512-intelligent-traced", with(confident, traced), 4, small_shape, on_cuda},
      {"small-64x512-random", plain, 64, small_shape, on_cuda},
      {"small-64x512-intelligent", confident, 64, small_shape, on_cuda},
      {"base-4x1024-intelligent", long_confident, 4, base_shape, on_cuda},
      {"base-64x1024-random", long_plain, 64, base_shape, on_cuda},
      {"base-64x1024-intelligent", long_confident, 64, base_shape, on_cuda},
      {"base-64x1024-random-top_p", with(long_plain, "--top_p=0.9"), 64, base_shape, on_cuda},
      {"standard-4x100", standard_arguments(100), 4, std::nullopt, on_cuda},
      {"standard-4x400", standard_arguments(400), 4, std::nullopt, on_cuda},
      {"cpu-4x512-random-10", diffusion_arguments(small, 512, 10, random_remasking), 4, small_shape, on_cpu},
      {"cpu-4x512-intelligent-10", diffusion_arguments(small, 512, 10, intelligent), 4, small_shape, on_cpu},
      {"cpu-4x512-random-10-traced", with(diffusion_arguments(small, 512, 10, random_remasking), traced), 4,
       small_shape, on_cpu},
      {"cpu-standard-4x100", standard_arguments(100), 4, std::nullopt, on_cpu},
  };
}

// A whole name means that case alone, even where others begin with it.
bool fits(const std::string& name, const std::string& wanted, bool is_a_name) {
  return is_a_name ? name == wanted : name.compare(0, wanted.size(), wanted) == 0;
}

}  // namespace

std::vector<std::string> diffusion_arguments(const std::string& checkpoint, int64_t length, int64_t iterations,
                                             bool intelligent_remasking) {
  return {"--sampling_method=diffusion", "--checkpoint_name=" + checkpoint, fmt::format("--sequence_length={}", length),
          fmt::format("--diffusion_iterations={}", iterations),
          fmt::format("--intelligent_remasking={}", intelligent_remasking ? "True" : "False")};
}

std::vector<std::string> complete_arguments(const std::vector<std::string>& arguments, int64_t samples,
                                            const std::vector<std::string>& passed_through) {
  std::vector<std::string> all = {fmt::format("--num_samples={}", samples), fmt::format("--batch_size={}", samples),
                                  "--show_progress=False", "--seed=1337"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  all.insert(all.end(), passed_through.begin(), passed_through.end());
  return all;
}

std::optional<Anchor> find_anchor(const std::string& name) {
  for (const Anchor& anchor : all_anchors()) {
    if (anchor.name == name) {
      return anchor;
    }
  }
  return std::nullopt;
}

std::vector<Case> select_cases(const std::string& selection, bool cuda) {
  const std::vector<Case> cases = all_cases();
  std::vector<bool> selected;
  selected.reserve(cases.size());
  for (const Case& one : cases) {
    selected.push_back(selection.empty() && one.cuda == cuda);
  }
  std::istringstream names(selection == "none" ? "" : selection);
  for (std::string wanted; std::getline(names, wanted, ',');) {
    const bool is_a_name = std::any_of(cases.begin(), cases.end(), [&](const Case& one) { return one.name == wanted; });
    bool found = false;
    for (size_t i = 0; i < cases.size(); ++i) {
      if (fits(cases[i].name, wanted, is_a_name)) {
        selected[i] = found = true;
      }
    }
    if (!found) {
      std::vector<std::string> known;
      known.reserve(cases.size());
      for (const Case& one : cases) {
        known.push_back(one.name);
      }
      fail(ExitCode::bad_usage, "no case is called, or begins with, '{}'. There are {}.", wanted,
           fmt::join(known, ", "));
    }
  }
  std::vector<Case> result;
  for (size_t i = 0; i < cases.size(); ++i) {
    if (selected[i]) {
      result.push_back(cases[i]);
    }
  }
  return result;
}

}  // namespace demask::bench

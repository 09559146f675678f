// Runs a step of fixed shape again and again: on a CUDA device it is recorded once as a graph and then replayed, so
// that the host no longer launches kernels one by one; elsewhere it is simply called.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace demask {

class StepRunner {
 public:
  virtual ~StepRunner() = default;
  // Does the step once; `more` runs are known to follow, for where there are few, recording does not pay. Never runs
  // more than a few steps ahead of the device, so that progress is true and an interruption takes effect soon.
  virtual void run(int64_t more) = 0;
};

// `step` must read and write only tensors that it owns or that outlive the runner, at the same addresses each time, and
// must never wait for the device. The first runs (`warm_ups`) call it; where the next cannot record it, `on_refusal` is
// told why, and it is called from then on.
std::unique_ptr<StepRunner> make_step_runner(std::function<void()> step, at::Device device, int64_t warm_ups,
                                             std::function<void(const std::string& reason)> on_refusal);

// The CUDA side of it: one file with CUDA and one without, chosen by CMake.
std::unique_ptr<StepRunner> make_graph_runner(std::function<void()> step, at::Device device, int64_t warm_ups,
                                              std::function<void(const std::string& reason)> on_refusal);

}  // namespace demask

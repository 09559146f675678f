#include <ATen/cuda/CUDAEvent.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <torch/version.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <shared_mutex>
#include <utility>

#include "model/device.h"
#include "sampling/step_runner.h"

namespace demask {
namespace {

// After so many steps the host marks how far it is, and waits until the device has come to the mark before that one: it
// is at most twice as many steps ahead. A mark after each step would make the device stop as often.
constexpr int64_t steps_between_marks = 2;

// Recording takes about as long as launching the step twice.
constexpr int64_t worth_recording = 4;  // runs

// Other threads may work on other devices meanwhile. LibTorch before 2.1 forbids them what a recording cannot have,
// such as taking memory of a device.
void begin_recording(at::cuda::CUDAGraph& graph) {
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 1)
  graph.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
#else
  graph.capture_begin();
#endif
}

class GraphRunner : public StepRunner {
 public:
  GraphRunner(std::function<void()> step, at::Device device, int64_t warm_ups,
              std::function<void(const std::string&)> on_refusal)
      : step_(std::move(step)), device_(device), warm_ups_(warm_ups), on_refusal_(std::move(on_refusal)) {}

  void run(int64_t more) override {
    const c10::cuda::CUDAGuard guard(device_);
    at::cuda::CUDAEvent& mark = marks_[static_cast<size_t>(runs_ / steps_between_marks) % marks_.size()];
    if (runs_ % steps_between_marks == 0) {
      mark.synchronize();  // the mark before the last; at first there is none, and nothing to wait for
    }
    if (state_ == State::warming && runs_ >= warm_ups_ && runs_ + more >= worth_recording) {
      record();
    }
    if (state_ == State::recorded) {
      graph_.replay();
    } else {
      step_();
    }
    ++runs_;
    if (runs_ % steps_between_marks == 0) {
      mark.record();
    }
  }

 private:
  enum class State { warming, recorded, refused };

  // Capture wants a stream of its own; the replay goes to the current one. Nothing of the step is executed here.
  void record() {
    const std::shared_lock<std::shared_mutex> with_others(recordings());
    const c10::cuda::CUDAStream outer = c10::cuda::getCurrentCUDAStream(device_.index());
    const c10::cuda::CUDAStream stream = c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device_.index());
    at::cuda::CUDAEvent ready;
    ready.record(outer);
    ready.block(stream);
    const c10::cuda::CUDAStreamGuard guard(stream);
    bool began = false;
    try {
      begin_recording(graph_);
      began = true;
      step_();
      graph_.capture_end();
      state_ = State::recorded;
    } catch (const std::exception& error) {
      const std::string reason = error.what();
      if (began) {
        try {
          graph_.capture_end();
        } catch (const std::exception&) {
          // The capture was already broken; ending it is what puts the allocator back.
        }
      }
      static_cast<void>(cudaGetLastError());  // so that the next check does not report the capture's error
      if (is_out_of_memory(error)) {
        throw;
      }
      state_ = State::refused;
      on_refusal_(reason.substr(0, reason.find('\n')));
    }
  }

  std::function<void()> step_;
  at::Device device_;
  int64_t warm_ups_;
  std::function<void(const std::string&)> on_refusal_;
  State state_ = State::warming;
  int64_t runs_ = 0;
  std::array<at::cuda::CUDAEvent, 2> marks_;  // the last two
  at::cuda::CUDAGraph graph_;
};

}  // namespace

std::unique_ptr<StepRunner> make_graph_runner(std::function<void()> step, at::Device device, int64_t warm_ups,
                                              std::function<void(const std::string& reason)> on_refusal) {
  return std::make_unique<GraphRunner>(std::move(step), device, warm_ups, std::move(on_refusal));
}

}  // namespace demask

#include "sampling/step_runner.h"

#include <utility>

namespace demask {
namespace {

class DirectRunner : public StepRunner {
 public:
  explicit DirectRunner(std::function<void()> step) : step_(std::move(step)) {}
  void run(int64_t /*more*/) override { step_(); }

 private:
  std::function<void()> step_;
};

}  // namespace

std::unique_ptr<StepRunner> make_step_runner(std::function<void()> step, at::Device device, int64_t warm_ups,
                                             std::function<void(const std::string& reason)> on_refusal) {
  if (device.is_cuda()) {
    return make_graph_runner(std::move(step), device, warm_ups, std::move(on_refusal));
  }
  return std::make_unique<DirectRunner>(std::move(step));
}

}  // namespace demask

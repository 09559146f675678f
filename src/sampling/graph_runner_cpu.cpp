#include "core/error.h"
#include "sampling/step_runner.h"

namespace demask {

std::unique_ptr<StepRunner> make_graph_runner(std::function<void()> /*step*/, at::Device device, int64_t /*warm_ups*/,
                                              std::function<void(const std::string& reason)> /*on_refusal*/) {
  fail(ExitCode::failed, "this build of demask has no CUDA, so it records no steps for {}.", device.str());
}

}  // namespace demask

#include "demask/sampling/read_back.h"

#include <ATen/ATen.h>

#include "demask/core/error.h"
#include "demask/model/device.h"

namespace demask {

namespace {

// Contiguous; on its way until the device is waited for. Pinned memory, which LibTorch keeps for the next batch, is
// copied to without a detour.
at::Tensor on_host(const at::Tensor& x) {
  if (x.is_cpu()) {
    return x.contiguous();
  }
  at::Tensor host = at::empty(x.sizes(), x.options().device(at::kCPU).pinned_memory(true));
  return host.copy_(x, /*non_blocking=*/true);
}

}  // namespace

void throw_if_interrupted(const std::function<bool()>& interrupted) {
  if (interrupted && interrupted()) {
    throw Error(ExitCode::interrupted, "interrupted");
  }
}

void send(const at::Tensor& from, const at::Tensor& into) {
  at::Tensor target = into;
  target.copy_(into.is_cuda() ? from.pin_memory() : from, /*non_blocking=*/true);
}

std::vector<Sample> read_back(int64_t first_index, const at::Tensor& tokens, const at::Tensor& self_confidence) {
  const at::Tensor host_tokens = on_host(tokens), host_confidence = on_host(self_confidence);
  synchronize(tokens.device());
  const int64_t length = host_tokens.size(1);
  const int64_t* row = host_tokens.data_ptr<int64_t>();
  std::vector<Sample> samples;
  for (int64_t b = 0; b < host_tokens.size(0); ++b, row += length) {
    samples.push_back(
        {first_index + b, std::vector<int64_t>(row, row + length), host_confidence.data_ptr<double>()[b]});
  }
  return samples;
}

}  // namespace demask

#include "sampling/read_back.h"

#include <ATen/ATen.h>

#include "model/device.h"

namespace demask {

// Pinned memory, which LibTorch keeps for the next batch, is copied to without a detour.
at::Tensor on_host(const at::Tensor& x) {
  if (x.is_cpu()) {
    return x.contiguous();
  }
  at::Tensor host = at::empty(x.sizes(), x.options().device(at::kCPU).pinned_memory(true));
  return host.copy_(x, /*non_blocking=*/true);
}

void send(const at::Tensor& from, const at::Tensor& into) {
  at::Tensor target = into;
  target.copy_(into.is_cuda() ? from.pin_memory() : from, /*non_blocking=*/true);
}

std::vector<DrawnSample> read_back(const std::vector<Stream>& streams, const at::Tensor& tokens,
                                   const at::Tensor& self_confidence) {
  const at::Tensor host_tokens = on_host(tokens), host_confidence = on_host(self_confidence);
  synchronize(tokens.device());
  const int64_t length = host_tokens.size(1);
  const int64_t* row = host_tokens.data_ptr<int64_t>();
  std::vector<DrawnSample> samples;
  const double* confidence = host_confidence.data_ptr<double>();
  for (const Stream& stream : streams) {
    samples.push_back({stream.index, std::vector<int64_t>(row, row + length), *confidence++, nullptr});
    row += length;
  }
  return samples;
}

}  // namespace demask

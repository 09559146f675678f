#include "sampling/read_back.h"

#include <ATen/ATen.h>

#include "model/device.h"

namespace demask {
namespace {

// Kernels read sixteen bytes at a time.
constexpr size_t part_alignment = 64;

size_t bytes_of(const BatchTensors::Part& part) {
  return static_cast<size_t>(c10::multiply_integers(part.sizes)) * c10::elementSize(part.type);
}

size_t aligned(size_t bytes) {
  return (bytes + part_alignment - 1) / part_alignment * part_alignment;
}

}  // namespace

BatchTensors::BatchTensors(const std::vector<Part>& parts, at::Device device) {
  size_t bytes = 0;
  for (const Part& part : parts) {
    begins_.push_back(bytes);
    bytes += aligned(bytes_of(part));
  }
  room_ = at::empty({static_cast<int64_t>(bytes)}, at::device(device).dtype(at::kByte));
  for (size_t k = 0; k < parts.size(); ++k) {
    const at::Tensor own = room_.narrow(0, static_cast<int64_t>(begins_[k]), static_cast<int64_t>(bytes_of(parts[k])));
    tensors_.push_back(own.view(parts[k].type).view(parts[k].sizes));
  }
}

// On the host it is the tensors themselves.
BatchTensors::Draft BatchTensors::draft() const {
  return {room_.is_cpu() ? room_ : at::empty(room_.sizes(), at::dtype(at::kByte).pinned_memory(true)), begins_};
}

void BatchTensors::send(const Draft& draft) const {
  if (!room_.is_cpu()) {
    at::Tensor target = room_;
    target.copy_(draft.room_, /*non_blocking=*/true);
  }
}

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

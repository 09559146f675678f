// The ends of a batch, the same for every sampler: copies between the host and the device.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "sampling/noise.h"
#include "sampling/sample.h"

namespace demask {

// Copies a tensor of the host into one of the same shape on any device, without waiting for that.
void send(const at::Tensor& from, const at::Tensor& into);

// Tensors that the host fills anew for each batch. They lie side by side on the device, so that one copy brings all.
class BatchTensors {
 public:
  struct Part {
    std::vector<int64_t> sizes;
    at::ScalarType type = at::kLong;
  };

  BatchTensors(const std::vector<Part>& parts, at::Device device);

  // In the order of the parts.
  const std::vector<at::Tensor>& all() const { return tensors_; }

  // Fills them from contiguous tensors of the host of the same sizes and types, without waiting for that.
  void send(const std::vector<at::Tensor>& from) const;

 private:
  at::Tensor room_;  // of bytes
  std::vector<at::Tensor> tensors_;
};

// Contiguous; on its way until the device is waited for.
at::Tensor on_host(const at::Tensor& x);

// tokens [B, T] int64 and self-confidence [B] float64, on any device; of on_host, once the device was waited for.
std::vector<DrawnSample> read_back(const std::vector<Stream>& streams, const at::Tensor& tokens,
                                   const at::Tensor& self_confidence);

}  // namespace demask

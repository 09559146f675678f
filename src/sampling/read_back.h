// The ends of a batch, the same for every sampler: copies between the host and the device.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "sampling/noise.h"
#include "sampling/sample.h"

namespace demask {

// Copies a tensor of the host into one of the same shape on any device, without waiting for that.
void send(const at::Tensor& from, const at::Tensor& into);

// Contiguous; on its way until the device is waited for.
at::Tensor on_host(const at::Tensor& x);

// tokens [B, T] int64 and self-confidence [B] float64, on any device.
std::vector<DrawnSample> read_back(const std::vector<Stream>& streams, const at::Tensor& tokens,
                                   const at::Tensor& self_confidence);

}  // namespace demask

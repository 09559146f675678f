// The ends of a batch, the same for every sampler: stopping when asked, and copies between the host and the device.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "demask/sampling/sample.h"

namespace demask {

// Throws Error(interrupted) if `interrupted` is set and says so.
void throw_if_interrupted(const std::function<bool()>& interrupted);

// Copies a tensor of the host into one of the same shape on any device, without waiting for that.
void send(const at::Tensor& from, const at::Tensor& into);

// tokens [B, T] int64 and self-confidence [B] float64, on any device.
std::vector<Sample> read_back(int64_t first_index, const at::Tensor& tokens, const at::Tensor& self_confidence);

}  // namespace demask

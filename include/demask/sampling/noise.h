// Random numbers that are a pure function of (seed, sample index, step, position, purpose), whatever the batch or
// device.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace demask {

// What a number is for, so that no two uses share one.
enum class Purpose : uint32_t { draw = 0, remask = 1, first_token = 2, reveal_count = 3, remask_count = 4 };

// Uniform numbers in (0, 1), float32 [B, positions], on the device of sample_indices.
// sample_indices: int64 [B], global indices in [0, 2^56). step: [1] int64 on the same device, in [0, 2^32). positions:
// how many for each sample. The same bits on every device: a Philox4x32-10 block for every four positions, see
// core/philox.h.
at::Tensor uniform(uint64_t seed, const at::Tensor& sample_indices, const at::Tensor& step, int64_t positions,
                   Purpose purpose);

// The same through tensor operations only, which is how it runs on a device without kernels of our own.
at::Tensor uniform_by_tensors(uint64_t seed, const at::Tensor& sample_indices, const at::Tensor& step,
                              int64_t positions, Purpose purpose);

// The number that `uniform` gives for one sample and position, on the host.
float uniform_at(uint64_t seed, int64_t sample_index, int64_t step, int64_t position, Purpose purpose);

}  // namespace demask

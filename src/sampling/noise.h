// Random numbers that are a pure function of (seed, sample index, step, position, purpose), whatever the batch or
// device.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace demask {

// Whose numbers: those of one sample.
struct Stream {
  uint64_t seed = 0;
  int64_t index = 0;  // of the sample, global, in [0, 2^56)
};

// The same for the rows of a batch, on its device.
struct Streams {
  at::Tensor seeds;    // [B] int64, the bits of the unsigned seeds
  at::Tensor indices;  // [B] int64
};

// On the host.
Streams to_tensors(const std::vector<Stream>& streams);

// What a number is for, so that no two uses share one.
enum class Purpose : uint32_t {
  draw = 0,
  remask = 1,
  first_token = 2,
  reveal_count = 3,
  remask_count = 4,
  gap_length = 5,
  part = 6,
  score_count = 16,  // how many positions a score's draw masks
  score_mask = 17    // which
};

// Uniform numbers in (0, 1), float32 [B, positions], on the streams' device. steps: [1], or [B] one a row, int64 on the
// same device, in [0, 2^32). positions: how many for each sample. The same bits on every device: a Philox4x32-10 block
// for every four positions, see core/philox.h.
at::Tensor uniform(const Streams& streams, const at::Tensor& steps, int64_t positions, Purpose purpose);

// The same through tensor operations only, which is how it runs on a device without kernels of our own.
at::Tensor uniform_by_tensors(const Streams& streams, const at::Tensor& steps, int64_t positions, Purpose purpose);

// The number that `uniform` gives for one sample and position, on the host.
float uniform_at(const Stream& stream, int64_t step, int64_t position, Purpose purpose);

}  // namespace demask

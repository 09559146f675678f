// What the steps of a batch of diffusion share. Private to the diffusion sampler.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <tuple>
#include <vector>

#include "model/block_cache.h"
#include "sampling/device_patterns.h"
#include "sampling/diffusion_batch.h"
#include "sampling/diffusion_sampler.h"
#include "sampling/noise.h"
#include "sampling/read_back.h"
#include "sampling/step_runner.h"
#include "sampling/step_tracer.h"

namespace demask {

// What a step reads and changes: tensors at fixed addresses, so that a step recorded once serves every iteration and
// every batch of this shape.
struct DiffusionSampler::Chain {
  std::optional<BatchTensors> sent;  // those that follow, down to the step
  Streams streams;
  at::Tensor tokens;    // [B, T] int64
  at::Tensor masked;    // [B, T] bool
  at::Tensor eligible;  // [B, T] bool: the free positions
  at::Tensor block;     // [B, T] int64: the block of each free position; undefined where there is only one
  at::Tensor counts;    // [1 or B, steps, count_columns] int64
  at::Tensor numbers;   // [1 or B, steps, number_columns] float32
  at::Tensor step;      // [1] int64

  int64_t drawn_each = 0;                    // positions to draw in every text, where that is one number; else 0
  std::vector<const Template*> patterned;    // the texts [B] where one is to match a pattern, else empty
  bool all_patterned = false;                // each of them is
  std::unique_ptr<DevicePatterns> patterns;  // null where the host draws these, or there are none
  std::unique_ptr<StepTracer> tracer;        // null where no text is traced
  std::unique_ptr<BlockCache> cache;         // null where nothing is kept
  Window window;                             // of the cache
  int64_t active_block = -1;                 // that the window is of
  // By what the step's first forward is over, and by the sizes of the window and of what is computed for it, 0 where no
  // forward of a recorded step is over one.
  std::map<std::tuple<StepKind, Extent, int64_t, int64_t>, std::unique_ptr<StepRunner>> runners;
  std::unique_ptr<StepRunner> last_forward;  // of finished texts, which makes
  at::Tensor log_probability;                // [B, T] float32, of their tokens
  int64_t batches = 0;                       // drawn with it
};

}  // namespace demask

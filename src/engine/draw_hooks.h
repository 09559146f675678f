// What a caller of Engine::draw says and is told.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "engine/generator.h"

namespace demask {

// What a caller of Engine::draw wants to know and to say. All but `on_batch` may be empty.
struct DrawHooks {
  // Told of steps on the thread that draws them. Where several devices draw, it is told of one at a time (see
  // FollowedDevice). Where it reads tensors, one device draws alone.
  Observer* observer = nullptr;
  // Samples that need not be drawn. Asked some batches ahead, perhaps on another thread.
  std::function<bool(int64_t index)> is_done;
  std::function<bool(int64_t index)> is_traced;  // samples that come with a trace; asked on any thread
  // Given each finished batch, on the caller's thread; every index below `frontier` has been given by then, or was
  // done.
  std::function<void(const std::vector<SampleTask>& tasks, std::vector<DrawnSample> samples, int64_t frontier)>
      on_batch;
  std::function<bool()> stops;  // asked between batches, on any thread
};

struct DrawTotals {
  double elapsed_s = 0;  // of generation
  int64_t samples = 0;
  int64_t tokens = 0;    // generated, over all samples
  bool gave_up = false;  // the batches in flight
};

// Tokens that are generated for these.
int64_t generated_tokens(const std::vector<SampleTask>& tasks);

}  // namespace demask

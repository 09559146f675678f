// Draws on one device, batch after batch, on the caller's thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/batching.h"
#include "engine/draw_hooks.h"

namespace demask {

// Where the generator can begin a batch without waiting for the device, the device is given the next one before the
// last is waited for and handed out: it works while the host reads, sums up and decodes. Else a batch is handed out
// before the next.
class LoneDevice {
 public:
  // All must outlive it.
  LoneDevice(Generator& generator, at::Device device, BatchPlanner& planner, const DrawHooks& hooks);

  // Draws all batches of the planner, of `rows` rows at most, until `hooks.stops` says so, as for_each_batch. Adds to
  // `totals`; `rows` is that of the last batch in the end. Throws as for_each_batch, Generator::draw and the hooks,
  // after what was begun before is handed out.
  void draw(int64_t& rows, DrawTotals& totals);

 private:
  struct Begun {
    std::vector<SampleTask> tasks;
    std::unique_ptr<BatchUnderWay> work;  // null: none
  };

  void take(std::vector<SampleTask> batch, DrawTotals& totals);
  void finish_last(int64_t frontier, DrawTotals& totals);
  void hand_out(const std::vector<SampleTask>& tasks, std::vector<DrawnSample> samples, int64_t frontier,
                DrawTotals& totals);

  Generator& generator_;
  at::Device device_;
  BatchPlanner& planner_;
  const DrawHooks& hooks_;
  Begun last_;
};

}  // namespace demask

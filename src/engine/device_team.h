// Draws on several devices at once. Each has a thread, which takes batch after batch from one planner; what is drawn is
// handed out on the caller's thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/batching.h"
#include "engine/draw_hooks.h"
#include "engine/followed_device.h"

namespace demask {

// A device of a team. Its functions are called on its thread, one at a time.
struct TeamMember {
  at::Device device = at::kCPU;
  // Makes it ready to draw, and says how many rows its batches have.
  std::function<int64_t()> prepare;
  // Draws a batch, whose tasks it may settle. Throws as Generator::draw.
  std::function<std::vector<DrawnSample>(std::vector<SampleTask>& batch, Observer* observer)> draw;
  // Told how many rows batches have from now on, where memory ran out.
  std::function<void(int64_t rows)> on_smaller;
  // Told that the device failed, and gets no more batches.
  std::function<void()> on_failure;
};

class DeviceTeam {
 public:
  // All must outlive the team. `abandoned` is set where batches in flight are of no use any more, for the members'
  // generators to give them up.
  DeviceTeam(const std::vector<TeamMember>& members, BatchPlanner& planner, const DrawHooks& hooks,
             std::atomic<bool>& abandoned);
  DeviceTeam(const DeviceTeam&) = delete;
  DeviceTeam& operator=(const DeviceTeam&) = delete;

  // Draws all batches of the planner, adding to `totals`, until `hooks.stops` says so. A batch that runs out of memory
  // is halved, as in for_each_batch. A device that has no memory for one sample, or that fails, gives its batch back to
  // the others, with a notice; where it was the last one, its error is thrown. Throws what a member or a hook throws
  // otherwise, after what was drawn before is handed out.
  void draw(DrawTotals& totals);

 private:
  struct Finished {
    std::vector<SampleTask> tasks;
    std::vector<DrawnSample> samples;
  };

  void work(size_t member) noexcept;
  void draw_batches(size_t member);
  std::vector<SampleTask> take(size_t member, int64_t rows);
  void hand_in(size_t member, Finished batch);
  int64_t put_back_halved(size_t member, std::vector<SampleTask> batch);
  void retire(size_t member, std::vector<SampleTask> batch, const std::exception& error);
  void hand_out(DrawTotals& totals);
  bool hand_out(Finished batch, int64_t frontier, DrawTotals& totals);
  void end_with(std::exception_ptr failure);
  int64_t frontier() const;

  const std::vector<TeamMember>& members_;
  BatchPlanner& planner_;
  const DrawHooks& hooks_;
  std::atomic<bool>& abandoned_;
  FollowedDevice followed_;

  std::mutex mutex_;  // of all below, and of the planner
  std::condition_variable changed_;
  std::vector<std::optional<int64_t>> in_flight_;  // the lowest index of each member's batch, none where it has none
  std::deque<Finished> finished_;                  // to be handed out
  size_t running_ = 0;                             // threads
  size_t sound_ = 0;                               // devices that have not failed
  bool ending_ = false;                            // nobody takes another batch
  bool gave_up_ = false;
  bool hooks_threw_ = false;  // so that nothing more is handed out
  std::exception_ptr failure_;
};

}  // namespace demask

#include "engine/lone_device.h"

#include <algorithm>
#include <exception>
#include <utility>

namespace demask {
namespace {

// Carries what a hook or an earlier batch threw past those who would take it for this batch running out of memory.
struct Passing {
  std::exception_ptr what;
};

template <typename Work>
void passing(const Work& work) {
  try {
    work();
  } catch (const Passing&) {
    throw;
  } catch (...) {
    throw Passing{std::current_exception()};
  }
}

}  // namespace

LoneDevice::LoneDevice(Generator& generator, at::Device device, BatchPlanner& planner, const DrawHooks& hooks)
    : generator_(generator), device_(device), planner_(planner), hooks_(hooks) {}

void LoneDevice::draw(int64_t& rows, DrawTotals& totals) {
  try {
    rows = for_each_batch(
        planner_, rows, device_, [&](const std::vector<SampleTask>& batch) { take(batch, totals); },
        [this] { return hooks_.stops && hooks_.stops(); });
    finish_last(planner_.frontier(), totals);
  } catch (const Passing& passing) {
    std::rethrow_exception(passing.what);
  }
}

void LoneDevice::take(std::vector<SampleTask> batch, DrawTotals& totals) {
  make_ready(generator_, batch, hooks_.is_traced);
  std::exception_ptr failure;
  std::unique_ptr<BatchUnderWay> work;
  try {
    work = generator_.begin(batch, hooks_.observer);
  } catch (...) {
    failure = std::current_exception();
  }
  finish_last(lowest_index(batch), totals);
  if (failure) {
    std::rethrow_exception(failure);
  }
  if (work) {
    last_ = {std::move(batch), std::move(work)};
  } else {
    hand_out(batch, draw_by_kind(generator_, batch, hooks_.observer), planner_.frontier(), totals);
  }
}

// Every index below `frontier` has been given by then, those of the last batch too.
void LoneDevice::finish_last(int64_t frontier, DrawTotals& totals) {
  if (!last_.work) {
    return;
  }
  const Begun last = std::exchange(last_, {});
  passing(
      [&] { hand_out(last.tasks, last.work->finish(last.tasks), std::min(frontier, planner_.frontier()), totals); });
}

void LoneDevice::hand_out(const std::vector<SampleTask>& tasks, std::vector<DrawnSample> samples, int64_t frontier,
                          DrawTotals& totals) {
  passing([&] { hooks_.on_batch(tasks, std::move(samples), frontier); });
  totals.samples += static_cast<int64_t>(tasks.size());
  totals.tokens += generated_tokens(tasks);
}

}  // namespace demask

#include "engine/device_team.h"

#include <algorithm>
#include <system_error>
#include <thread>
#include <utility>

#include "core/notice.h"
#include "core/signals_blocked.h"
#include "model/device.h"

namespace demask {
namespace {

// LibTorch's messages go on with where in its code they come from.
std::string first_line(const std::exception& error) {
  const std::string text = error.what();
  return text.substr(0, text.find('\n'));
}

}  // namespace

DeviceTeam::DeviceTeam(const std::vector<TeamMember>& members, BatchPlanner& planner, const DrawHooks& hooks,
                       std::atomic<bool>& abandoned)
    : members_(members),
      planner_(planner),
      hooks_(hooks),
      abandoned_(abandoned),
      followed_(hooks.observer),
      in_flight_(members.size()),
      running_(members.size()),
      sound_(members.size()) {}

void DeviceTeam::draw(DrawTotals& totals) {
  abandoned_ = false;
  std::vector<std::thread> threads;
  {
    const SignalsBlocked blocked;  // they are the caller's
    for (size_t member = 0; member < members_.size(); ++member) {
      try {
        threads.emplace_back([this, member] { work(member); });
      } catch (const std::system_error& error) {
        try {
          retire(member, {}, error);
        } catch (const std::exception&) {
          end_with(std::current_exception());
        }
        const std::lock_guard<std::mutex> lock(mutex_);
        --running_;
      }
    }
  }
  hand_out(totals);
  for (std::thread& thread : threads) {
    thread.join();
  }
  totals.gave_up = gave_up_;
  if (failure_) {
    std::rethrow_exception(failure_);
  }
}

void DeviceTeam::work(size_t member) noexcept {
  try {
    draw_batches(member);
  } catch (const GivenUp&) {
    const std::lock_guard<std::mutex> lock(mutex_);
    gave_up_ = gave_up_ || !abandoned_;
    ending_ = true;
  } catch (...) {
    end_with(std::current_exception());
  }
  // A batch that was lost stays in flight, so that the frontier does not pass it.
  const std::lock_guard<std::mutex> lock(mutex_);
  --running_;
  changed_.notify_all();
}

void DeviceTeam::draw_batches(size_t member) {
  FollowedDevice::View view(followed_);
  std::optional<WorksOn> device;
  int64_t rows = 0;
  try {
    device.emplace(members_[member].device);
    rows = members_[member].prepare();
  } catch (const std::exception& error) {
    retire(member, {}, error);
    return;
  }
  for (std::vector<SampleTask> batch = take(member, rows); !batch.empty(); batch = take(member, rows)) {
    Finished finished{batch, {}};
    try {
      finished.samples = members_[member].draw(finished.tasks, view.pointer());
    } catch (const std::exception& error) {
      if (is_out_of_memory(error) && batch.size() > 1) {
        rows = put_back_halved(member, std::move(batch));
        continue;
      }
      if (!is_out_of_memory(error) && !is_device_failure(error)) {
        throw;
      }
      retire(member, std::move(batch), error);
      return;
    }
    hand_in(member, std::move(finished));
  }
}

// None where all is drawn, or where the run ends before. A batch that another has in flight may yet come back.
std::vector<SampleTask> DeviceTeam::take(size_t member, int64_t rows) {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    ending_ = ending_ || (hooks_.stops && hooks_.stops());
    if (ending_) {
      return {};
    }
    std::vector<SampleTask> batch = planner_.next(rows);
    if (!batch.empty()) {
      in_flight_[member] = lowest_index(batch);
      return batch;
    }
    if (std::none_of(in_flight_.begin(), in_flight_.end(), [](const auto& lowest) { return lowest.has_value(); })) {
      return {};
    }
    changed_.wait(lock);
  }
}

// Waits while as much waits for the caller as there are devices, so that memory stays bounded.
void DeviceTeam::hand_in(size_t member, Finished batch) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return hooks_threw_ || finished_.size() < members_.size(); });
  in_flight_[member].reset();
  if (!hooks_threw_) {
    finished_.push_back(std::move(batch));
  }
  changed_.notify_all();
}

int64_t DeviceTeam::put_back_halved(size_t member, std::vector<SampleTask> batch) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const int64_t rows = halve_batch(planner_, std::move(batch), members_[member].device);
  in_flight_[member].reset();
  changed_.notify_all();
  if (members_[member].on_smaller) {
    members_[member].on_smaller(rows);
  }
  return rows;
}

// Called where `error` is caught.
void DeviceTeam::retire(size_t member, std::vector<SampleTask> batch, const std::exception& error) {
  const at::Device device = members_[member].device;
  const std::exception_ptr cause = std::current_exception();
  if (members_[member].on_failure) {
    members_[member].on_failure();
  }
  std::unique_lock<std::mutex> lock(mutex_);
  --sound_;
  if (sound_ > 0) {
    notice("{} draws no more, and {} in its place: {}", device.str(),
           sound_ == 1 ? "the device that is left draws" : fmt::format("the {} devices that are left draw", sound_),
           first_line(error));
    planner_.put_back(std::move(batch));
    in_flight_[member].reset();
    changed_.notify_all();
    return;
  }
  lock.unlock();
  if (is_out_of_memory(error) && !batch.empty()) {
    fail_for_one_sample(device);
  }
  std::rethrow_exception(cause);
}

void DeviceTeam::end_with(std::exception_ptr failure) {
  const std::lock_guard<std::mutex> lock(mutex_);
  failure_ = failure_ ? failure_ : std::move(failure);
  ending_ = true;
  abandoned_ = true;
  changed_.notify_all();
}

int64_t DeviceTeam::frontier() const {
  int64_t lowest = planner_.frontier();
  for (const std::optional<int64_t>& index : in_flight_) {
    lowest = std::min(lowest, index.value_or(lowest));
  }
  for (const Finished& batch : finished_) {
    lowest = std::min(lowest, lowest_index(batch.tasks));
  }
  return lowest;
}

void DeviceTeam::hand_out(DrawTotals& totals) {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return !finished_.empty() || running_ == 0; });
    if (finished_.empty()) {
      return;
    }
    Finished batch = std::move(finished_.front());
    finished_.pop_front();
    const int64_t reached = frontier();
    lock.unlock();
    const bool goes_on = hand_out(std::move(batch), reached, totals);
    lock.lock();
    if (!goes_on) {
      hooks_threw_ = true;
      finished_.clear();
    }
    changed_.notify_all();
  }
}

bool DeviceTeam::hand_out(Finished batch, int64_t frontier, DrawTotals& totals) {
  const auto samples = static_cast<int64_t>(batch.tasks.size());
  try {
    hooks_.on_batch(batch.tasks, std::move(batch.samples), frontier);
  } catch (...) {
    end_with(std::current_exception());
    return false;
  }
  totals.samples += samples;
  totals.tokens += generated_tokens(batch.tasks);
  return true;
}

}  // namespace demask

#include "bench/timing.h"

#include <algorithm>
#include <cmath>

#include "model/device.h"

namespace demask::bench {
namespace {

constexpr double shortest_measurement = 0.05;  // seconds, well above the clock's and the device's start-up noise
constexpr double most_calls = 1000;

double time_once(at::Device device, int64_t calls, const std::function<void()>& call) {
  synchronize(device);
  const Clock::time_point start = Clock::now();
  for (int64_t i = 0; i < calls; ++i) {
    call();
  }
  synchronize(device);
  return seconds_since(start);
}

}  // namespace

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

int64_t warm_ups(at::Device device) {
  return device.is_cuda() ? 2 : 1;
}

std::vector<double> time_calls(at::Device device, int64_t repeats, const std::function<void()>& call,
                               std::optional<int64_t> untimed) {
  for (int64_t i = 0; i < untimed.value_or(warm_ups(device)); ++i) {
    call();
  }
  std::vector<double> seconds;
  for (int64_t i = 0; i < repeats; ++i) {
    seconds.push_back(time_once(device, 1, call));
  }
  return seconds;
}

Turns time_in_turns(at::Device device, int64_t repeats, const std::function<void()>& first,
                    const std::function<void()>& second) {
  for (int64_t i = 0; i < warm_ups(device); ++i) {
    first();
    second();
  }
  Turns turns;
  for (int64_t i = 0; i < repeats; ++i) {
    turns.first.push_back(time_once(device, 1, first));
    turns.second.push_back(time_once(device, 1, second));
  }
  return turns;
}

double seconds_per_call(at::Device device, int64_t repeats, const std::function<void()>& call) {
  const double first = time_calls(device, 1, call).front();
  const double calls = std::clamp(std::ceil(shortest_measurement / std::max(first, 1e-9)), 1.0, most_calls);
  std::vector<double> seconds;
  for (int64_t i = 0; i < repeats; ++i) {
    seconds.push_back(time_once(device, static_cast<int64_t>(calls), call) / calls);
  }
  return spread(seconds).median;
}

Spread spread(std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  const size_t middle = seconds.size() / 2;
  const double median = seconds.size() % 2 == 1 ? seconds[middle] : (seconds[middle - 1] + seconds[middle]) / 2;
  return {median, seconds.front(), seconds.back()};
}

nlohmann::ordered_json spread_json(const std::vector<double>& seconds) {
  const Spread of = spread(seconds);
  return {{"median", of.median}, {"min", of.least}, {"max", of.most}, {"every", seconds}};
}

}  // namespace demask::bench

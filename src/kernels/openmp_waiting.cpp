#include "kernels/openmp_waiting.h"

#include <dlfcn.h>
#include <sys/resource.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <system_error>
#include <thread>

#include "kernels/thread_pool.h"

namespace demask::kernels {
namespace {

using Region = void(void*);
using Parallel = void(Region*, void*, unsigned threads, unsigned flags);

constexpr std::chrono::milliseconds look_while_spinning{25}, look_while_asleep{500};

// A thread that shares its core with another loses it some 150 times a second (each 3 ms, in turns). This process alone
// counts some 50: each look at the count takes a core for a moment.
constexpr int64_t most_preemptions_per_s = 120;

class SpinningAllowed {
 public:
  void allow() {
    const std::lock_guard<std::mutex> lock(mutex_);
    allowed_ = true;
    changed_.notify_all();
  }
  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return allowed_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool allowed_ = false;
};

// Never destroyed: a thread may wait for it while the process ends.
SpinningAllowed& spinning_allowed() {
  static auto* const allowed = new SpinningAllowed;
  return *allowed;
}

int64_t preemptions() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_nivcsw;
}

// Looks for `time` at how often threads of this process lose their core.
bool is_preempted_within(std::chrono::milliseconds time) {
  const int64_t before = preemptions();
  std::this_thread::sleep_for(time);
  return (preemptions() - before) * 1000 > most_preemptions_per_s * time.count();
}

// The team lives as long as the thread that started it.
void hold_team(Parallel* parallel, unsigned team) {
  parallel([](void*) {}, nullptr, team, 0);
  spinning_allowed().wait();
  while (is_preempted_within(look_while_asleep)) {
  }
}

void watch(Parallel* parallel, unsigned team) {
  leave_signals_to_others();
  try {
    while (true) {
      std::thread(hold_team, parallel, team).join();
      while (!is_preempted_within(look_while_spinning)) {
      }
    }
  } catch (const std::system_error&) {  // a limit on threads: OpenMP's go on spinning
  }
}

}  // namespace

void let_openmp_sleep(int64_t threads, int64_t cores) {
  if (threads == 1 || std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) {
    return;
  }
  auto* const parallel = reinterpret_cast<Parallel*>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
  // Both teams together, less the thread that every process has, are to be one more than the cores.
  const int64_t team = cores - threads + 2;
  constexpr int64_t largest_team = 64;  // beyond it most cores are left to others anyway
  if (parallel == nullptr || team > largest_team) {
    return;
  }
  static std::once_flag once;
  std::call_once(once, [&] {
    try {
      std::thread(watch, parallel, static_cast<unsigned>(team)).detach();
    } catch (const std::system_error&) {  // as above
    }
  });
}

void let_openmp_spin_while_alone() {
  spinning_allowed().allow();
}

}  // namespace demask::kernels

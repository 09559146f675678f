#include "kernels/thread_pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <limits>
#include <system_error>
#include <utility>

namespace demask::kernels {
namespace {

// Small enough that a preempted thread holds up little, and that threads of unequal speed finish together.
constexpr int64_t pieces_per_thread = 4;

// From one region to the next of a forward it is less; sleeping and waking takes a thread as long.
constexpr std::chrono::microseconds spin_time{50};

constexpr uint32_t stop = std::numeric_limits<uint32_t>::max();  // as a number of unclaimed pieces

// The number of this thread in the pool whose work it does; -1 outside of work.
thread_local int64_t own_number = -1;

class InsideWork {
 public:
  explicit InsideWork(int64_t thread) { own_number = thread; }
  ~InsideWork() { own_number = -1; }
  InsideWork(const InsideWork&) = delete;
  InsideWork& operator=(const InsideWork&) = delete;
};

// A futex's word is 32 bits of plain memory.
static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t) && std::atomic<uint32_t>::is_always_lock_free);

// Returns when woken, at once where the word is not `value`, and sometimes for no reason.
void sleep_while(std::atomic<uint32_t>& word, uint32_t value) {
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

void wake(std::atomic<uint32_t>& word, uint32_t count) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

void pause_briefly() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Whether the condition came true within spin_time.
template <typename Condition>
bool spin_until(const Condition& holds) {
  constexpr int looks_per_clock = 32;
  const auto end = std::chrono::steady_clock::now() + spin_time;
  do {
    for (int look = 0; look < looks_per_clock; ++look) {
      if (holds()) {
        return true;
      }
      pause_briefly();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

}  // namespace

void leave_signals_to_others() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
}

ThreadPool::ThreadPool(int64_t threads) {
  workers_.reserve(static_cast<size_t>(std::max<int64_t>(threads - 1, 0)));
  try {
    for (int64_t thread = 1; thread < threads; ++thread) {
      workers_.emplace_back([this, thread] { serve(thread); });
    }
  } catch (const std::system_error&) {  // a limit on threads: those that there are do all
  }
}

ThreadPool::~ThreadPool() {
  unclaimed_.store(stop);
  wake(unclaimed_, std::numeric_limits<int32_t>::max());
  for (std::thread& worker : workers_) {
    worker.join();
  }
}

void ThreadPool::run(int64_t tasks, const Work& work) {
  if (tasks <= 0) {
    return;
  }
  if (own_number >= 0) {
    work(0, tasks, own_number);
    return;
  }
  const std::unique_lock<std::mutex> alone(running_, std::try_to_lock);
  if (tasks == 1 || workers_.empty() || !alone.owns_lock()) {
    work(0, tasks, 0);
    return;
  }
  tasks_ = tasks;
  pieces_ = static_cast<uint32_t>(std::min(tasks, threads() * pieces_per_thread));
  work_ = &work;
  failed_.store(false, std::memory_order_relaxed);
  unfinished_.store(pieces_, std::memory_order_relaxed);
  unclaimed_.store(pieces_);
  // A worker counts itself before it looks at unclaimed_ for the last time: one of the two sees the other.
  if (const uint32_t sleeping = sleeping_.load(); sleeping > 0) {
    wake(unclaimed_, std::min(sleeping, pieces_ - 1));
  }
  {
    const InsideWork inside(0);
    const uint32_t done = do_pieces(0);
    unfinished_.fetch_sub(done);
  }
  wait_for_workers();
  if (failed_.load()) {
    std::rethrow_exception(std::exchange(error_, nullptr));
  }
}

// Returns how many pieces were unclaimed, this one among them; 0 where there is none.
uint32_t ThreadPool::claim() {
  uint32_t left = unclaimed_.load(std::memory_order_relaxed);
  while (left != 0 && left != stop && !unclaimed_.compare_exchange_weak(left, left - 1)) {
  }
  return left == stop ? 0 : left;
}

// Does pieces until all are claimed, and returns how many it did.
uint32_t ThreadPool::do_pieces(int64_t thread) noexcept {
  uint32_t done = 0;
  while (const uint32_t left = claim()) {
    ++done;
    if (failed_.load(std::memory_order_relaxed)) {
      continue;
    }
    const int64_t piece = pieces_ - left, pieces = pieces_;
    const int64_t each = tasks_ / pieces, larger = tasks_ % pieces;  // the first have one task more
    const int64_t first = piece * each + std::min(piece, larger);
    try {
      (*work_)(first, first + each + (piece < larger ? 1 : 0), thread);
    } catch (...) {
      if (!failed_.exchange(true)) {
        error_ = std::current_exception();
      }
    }
  }
  return done;
}

void ThreadPool::wait_for_workers() {
  const auto finished = [this] { return unfinished_.load() == 0; };
  if (finished() || spin_until(finished)) {
    return;
  }
  caller_sleeps_.store(true);
  while (const uint32_t left = unfinished_.load()) {
    sleep_while(unfinished_, left);
  }
  caller_sleeps_.store(false);
}

void ThreadPool::serve(int64_t thread) {
  leave_signals_to_others();
  const InsideWork inside(thread);
  const auto called = [this] { return unclaimed_.load(std::memory_order_relaxed) != 0; };
  while (unclaimed_.load() != stop) {
    if (const uint32_t done = do_pieces(thread); done > 0) {
      // The caller can begin its next region no sooner than all are counted.
      if (unfinished_.fetch_sub(done) == done && caller_sleeps_.load()) {
        wake(unfinished_, 1);
      }
    }
    if (!spin_until(called)) {
      ++sleeping_;
      sleep_while(unclaimed_, 0);
      --sleeping_;
    }
  }
}

}  // namespace demask::kernels

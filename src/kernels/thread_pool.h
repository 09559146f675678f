// Threads for the CPU kernels' parallel regions, which last microseconds and follow each other closely.
//
// A barrier of OpenMP waits for every thread of the team. Where other programs run, one of them is always preempted,
// and the rest spin for as long. Here threads claim pieces of work, and nobody waits for a thread that has claimed
// none: a worker that sleeps or is preempted costs nothing.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace demask::kernels {

// Blocks all signals in this thread: they are for those that wait for them, as in a read that one interrupts.
void leave_signals_to_others();

class ThreadPool {
 public:
  // Does the tasks first .. last-1 on the thread of that number, from 0 (a caller of run) to threads() - 1.
  using Work = std::function<void(int64_t first, int64_t last, int64_t thread)>;

  // `threads`, at least 1, counts the caller of run. Where the system refuses to start so many, there are fewer.
  explicit ThreadPool(int64_t threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int64_t threads() const { return static_cast<int64_t>(workers_.size()) + 1; }

  // Calls work for consecutive ranges that make up 0 .. tasks-1, and returns when all are done; how many ranges, and on
  // which threads, differs from call to call. Throws what work threw first; ranges that had not begun are left out.
  // Inside of work: the whole range at once, under the number of the thread that is there. While another thread is in
  // run: the whole range at once, under the number 0.
  void run(int64_t tasks, const Work& work);

 private:
  void serve(int64_t thread);
  uint32_t claim();
  uint32_t do_pieces(int64_t thread) noexcept;
  void wait_for_workers();

  std::vector<std::thread> workers_;
  std::mutex running_;  // held by the thread whose tasks are being done

  // The region: written while all pieces are done, read by those who have claimed one.
  int64_t tasks_ = 0;
  uint32_t pieces_ = 0;
  const Work* work_ = nullptr;
  std::atomic<bool> failed_{false};
  std::exception_ptr error_;  // of the first that failed

  // Apart from each other and from what is read only, for threads that wait for them.
  alignas(64) std::atomic<uint32_t> unclaimed_{0};   // pieces; idle workers sleep on it
  alignas(64) std::atomic<uint32_t> unfinished_{0};  // pieces; the caller sleeps on it
  std::atomic<bool> caller_sleeps_{false};
  alignas(64) std::atomic<uint32_t> sleeping_{0};  // workers
};

}  // namespace demask::kernels

// How many threads demask computes with, and how LibTorch's behave beside other programs.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "kernels/thread_pool.h"

namespace demask::kernels {

// What OMP_NUM_THREADS asks for: the first number of its list, as OpenMP has it. Empty where it is no whole number of 1
// or more, which OpenMP ignores too.
std::optional<int64_t> asked_threads(std::string_view omp_num_threads);

// The whole cores that a cgroup's cpu.max ("quota period", or "max period") amounts to, rounded up; empty where it sets
// no limit.
std::optional<int64_t> cores_of_quota(std::string_view cpu_max);

// The cores that this process may keep busy: those of its affinity mask, fewer where a cgroup limits its time.
int64_t usable_cores();

// The threads of this process: what OMP_NUM_THREADS asks for, at most usable_cores(), all of them where it is not set.
// It is settled at the first call.
int64_t thread_count();

// thread_count() threads for every region of the CPU kernels. It is never destroyed, so that a process can end whatever
// its threads do; the child of a fork gets one of its own.
ThreadPool& shared_pool();

// Gives LibTorch thread_count() threads, which it may start without, and has them sleep while they wait (see
// openmp_waiting.h). Call it before LibTorch computes.
void settle_threads();

}  // namespace demask::kernels

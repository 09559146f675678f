#include "kernels/threads.h"

#include <ATen/Parallel.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "kernels/openmp_waiting.h"

namespace demask::kernels {
namespace {

constexpr int64_t most_cores = 1 << 16;  // of any machine; also keeps sums of them small

std::string_view trim(std::string_view text) {
  constexpr std::string_view blanks = " \t\n\r\f\v";
  const size_t first = text.find_first_not_of(blanks);
  return first == text.npos ? std::string_view() : text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

// A whole number of 1 or more; what is larger than any sensible one counts as `most`.
std::optional<int64_t> positive_number(std::string_view text, int64_t most) {
  text = trim(text);
  if (!text.empty() && text.front() == '+') {
    text.remove_prefix(1);
  }
  int64_t number = 0;
  for (const char digit : text) {
    if (digit < '0' || digit > '9') {
      return std::nullopt;
    }
    number = std::min(number * 10 + (digit - '0'), most);
  }
  return number > 0 ? std::optional(number) : std::nullopt;
}

int64_t cores_of_affinity() {
  // The kernel refuses a mask shorter than its own.
  for (size_t cpus = CPU_SETSIZE; cpus <= most_cores; cpus *= 2) {
    std::vector<cpu_set_t> mask(cpus / CPU_SETSIZE);
    const size_t bytes = mask.size() * sizeof(cpu_set_t);
    if (sched_getaffinity(0, bytes, mask.data()) == 0) {
      return std::max(CPU_COUNT_S(bytes, mask.data()), 1);
    }
  }
  return std::max(static_cast<int64_t>(std::thread::hardware_concurrency()), int64_t{1});
}

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// The least that the cgroup (version 2) of this process and those around it allow.
std::optional<int64_t> cores_of_cgroups() {
  std::ifstream groups("/proc/self/cgroup");
  std::string path;
  for (std::string line; std::getline(groups, line);) {
    if (line.compare(0, 3, "0::") == 0) {
      path = line.substr(3);
    }
  }
  std::optional<int64_t> least;
  for (;; path.resize(path.rfind('/'))) {
    if (const auto cores = cores_of_quota(read_text("/sys/fs/cgroup" + path + "/cpu.max"))) {
      least = std::min(*cores, least.value_or(*cores));
    }
    if (path.rfind('/') == path.npos) {
      return least;
    }
  }
}

// Null before the first use.
std::atomic<ThreadPool*>& pool_pointer() {
  static std::atomic<ThreadPool*> pool{nullptr};
  return pool;
}

}  // namespace

std::optional<int64_t> asked_threads(std::string_view omp_num_threads) {
  return positive_number(omp_num_threads.substr(0, omp_num_threads.find(',')), most_cores);
}

std::optional<int64_t> cores_of_quota(std::string_view cpu_max) {
  constexpr int64_t most_us = int64_t{1} << 40;
  cpu_max = trim(cpu_max);
  const size_t blank = std::min(cpu_max.find(' '), cpu_max.size());
  const auto quota = positive_number(cpu_max.substr(0, blank), most_us);
  const auto period = positive_number(cpu_max.substr(blank), most_us);
  return quota && period ? std::optional((*quota + *period - 1) / *period) : std::nullopt;
}

int64_t usable_cores() {
  const int64_t cores = cores_of_affinity();
  return std::min(cores, cores_of_cgroups().value_or(cores));
}

int64_t thread_count() {
  static const int64_t count = [] {
    const int64_t cores = usable_cores();
    const char* const asked = std::getenv("OMP_NUM_THREADS");
    return std::min(asked != nullptr ? asked_threads(asked).value_or(cores) : cores, cores);
  }();
  return count;
}

ThreadPool& shared_pool() {
  if (ThreadPool* const pool = pool_pointer().load()) {
    return *pool;
  }
  static std::mutex making;
  const std::lock_guard<std::mutex> lock(making);
  if (pool_pointer().load() == nullptr) {
    static const int registered = pthread_atfork(nullptr, nullptr, [] { pool_pointer().store(nullptr); });
    static_cast<void>(registered);
    pool_pointer().store(new ThreadPool(thread_count()));
  }
  return *pool_pointer().load();
}

void settle_threads() {
  at::set_num_threads(static_cast<int>(thread_count()));
  let_openmp_sleep(thread_count(), cores_of_affinity());
}

}  // namespace demask::kernels

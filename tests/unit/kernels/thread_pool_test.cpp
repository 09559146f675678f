// Regions of a thread pool, alone, nested, beside each other and after a fork.
#include "kernels/thread_pool.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/catch.h"

using demask::kernels::ThreadPool;

namespace {

using Counts = std::vector<std::atomic<int>>;

void count(Counts& counts, int64_t first, int64_t last) {
  for (int64_t task = first; task < last; ++task) {
    ++counts[static_cast<size_t>(task)];
  }
}

bool all_are(const Counts& counts, int expected) {
  return std::all_of(counts.begin(), counts.end(), [&](const auto& number) { return number == expected; });
}

void sleep_ms(int64_t milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

}  // namespace

TEST_CASE("Every task is done once, whatever the numbers of tasks and threads") {
  for (const int64_t threads : {1, 2, 3, 8, 33}) {
    ThreadPool pool(threads);
    CHECK(pool.threads() == threads);
    for (const int64_t tasks : {0, 1, 2, 7, 8, 9, 100, 1001}) {
      CAPTURE(threads, tasks);
      Counts counts(static_cast<size_t>(tasks));
      std::atomic<bool> in_range{true};
      pool.run(tasks, [&](int64_t first, int64_t last, int64_t thread) {
        if (first >= last || thread < 0 || thread >= threads) {
          in_range = false;
        }
        count(counts, first, last);
      });
      CHECK(in_range);
      CHECK(all_are(counts, 1));
    }
  }
}

TEST_CASE("No two threads of a region have the same number at the same time") {
  constexpr int64_t threads = 4;
  ThreadPool pool(threads);
  Counts users(threads);
  std::atomic<bool> shared{false};
  for (int region = 0; region < 200; ++region) {
    pool.run(64, [&](int64_t, int64_t, int64_t thread) {
      std::atomic<int>& own = users[static_cast<size_t>(thread)];
      if (++own != 1) {
        shared = true;
      }
      std::this_thread::yield();
      --own;
    });
  }
  CHECK_FALSE(shared);
}

TEST_CASE("Workers take part, from their sleep too") {
  ThreadPool pool(2);
  for (int region = 0; region < 3; ++region) {
    std::atomic<bool> worker_came{false};
    // The caller's first piece lasts until the worker has done one.
    pool.run(8, [&](int64_t, int64_t, int64_t thread) {
      if (thread == 1) {
        worker_came = true;
      }
      for (int waited_ms = 0; !worker_came && waited_ms < 10000; ++waited_ms) {
        sleep_ms(1);
      }
    });
    CHECK(worker_came);
    sleep_ms(20);  // by then it sleeps
  }
}

TEST_CASE("A region waits for workers that are slow to finish, and no longer") {
  ThreadPool pool(3);
  for (int region = 0; region < 5; ++region) {
    Counts counts(12);
    pool.run(12, [&](int64_t first, int64_t last, int64_t thread) {
      sleep_ms(thread == 0 ? 0 : 3);
      count(counts, first, last);
    });
    CHECK(all_are(counts, 1));
  }
}

TEST_CASE("Hundreds of thousands of tiny regions lose no task") {
  constexpr int regions = 300000;
  for (const int64_t threads : {2, 5}) {
    ThreadPool pool(threads);
    int64_t lost = 0;
    std::atomic<int64_t> done{0};
    for (int region = 0; region < regions; ++region) {
      const int64_t tasks = 2 + region % 13;
      done = 0;
      pool.run(tasks, [&](int64_t first, int64_t last, int64_t) { done += last - first; });
      lost += tasks - done;
    }
    CHECK(lost == 0);
  }
}

TEST_CASE("Workers that fall asleep between regions lose no task") {
  ThreadPool pool(3);
  for (int region = 0; region < 300; ++region) {
    Counts counts(9);
    pool.run(9, [&](int64_t first, int64_t last, int64_t) { count(counts, first, last); });
    CHECK(all_are(counts, 1));
    std::this_thread::sleep_for(std::chrono::microseconds(region));  // around the time that they spin
  }
}

TEST_CASE("What work throws arrives, from any thread, and the pool goes on") {
  ThreadPool pool(3);
  for (int region = 0; region < 200; ++region) {
    std::string caught;
    try {
      pool.run(12, [&](int64_t first, int64_t, int64_t) {
        if (first >= region % 12) {
          throw std::runtime_error("no");
        }
      });
    } catch (const std::runtime_error& error) {
      caught = error.what();
    }
    CHECK(caught == "no");
    Counts counts(12);
    pool.run(12, [&](int64_t first, int64_t last, int64_t) { count(counts, first, last); });
    CHECK(all_are(counts, 1));
  }
}

TEST_CASE("A region inside of another runs at once, under the number of its thread") {
  ThreadPool pool(4);
  Counts counts(50);
  std::atomic<bool> same_thread{true};
  pool.run(50, [&](int64_t first, int64_t last, int64_t thread) {
    for (int64_t task = first; task < last; ++task) {
      const auto here = std::this_thread::get_id();
      pool.run(3, [&](int64_t from, int64_t to, int64_t inner_thread) {
        same_thread =
            same_thread && from == 0 && to == 3 && inner_thread == thread && std::this_thread::get_id() == here;
        counts[static_cast<size_t>(task)] += static_cast<int>(to - from);
      });
    }
  });
  CHECK(same_thread);
  CHECK(all_are(counts, 3));
}

TEST_CASE("Several threads use a pool at once") {
  ThreadPool pool(3);
  std::atomic<int64_t> wrong{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int region = 0; region < 20000; ++region) {
        std::atomic<int64_t> done{0};
        pool.run(10, [&](int64_t first, int64_t last, int64_t) { done += last - first; });
        wrong += done != 10;
      }
    });
  }
  for (std::thread& caller : callers) {
    caller.join();
  }
  CHECK(wrong == 0);
}

TEST_CASE("Pools come and go, used or not") {
  for (int round = 0; round < 200; ++round) {
    ThreadPool pool(1 + round % 4);
    if (round % 2 == 0) {
      std::atomic<int64_t> done{0};
      pool.run(5, [&](int64_t first, int64_t last, int64_t) { done += last - first; });
      CHECK(done == 5);
    }
  }
}

TEST_CASE("A caller whose workers are gone, as after a fork, does all the work itself") {
  ThreadPool pool(3);
  const pid_t child = fork();
  if (child == 0) {
    int64_t done = 0;  // by one thread only
    for (int region = 0; region < 100; ++region) {
      pool.run(20, [&](int64_t first, int64_t last, int64_t) { done += last - first; });
    }
    _exit(done == 2000 ? 0 : 1);
  }
  REQUIRE(child > 0);
  int status = -1;
  waitpid(child, &status, 0);
  CHECK(status == 0);
}

TEST_CASE("Workers leave signals to the program's own threads") {
  ThreadPool pool(2);
  std::atomic<bool> worker_came{false}, blocked{false};
  pool.run(8, [&](int64_t, int64_t, int64_t thread) {
    if (thread == 1) {
      sigset_t mask;
      pthread_sigmask(SIG_SETMASK, nullptr, &mask);
      blocked = sigismember(&mask, SIGINT) == 1 && sigismember(&mask, SIGTERM) == 1;
      worker_came = true;
    }
    for (int waited_ms = 0; !worker_came && waited_ms < 10000; ++waited_ms) {
      sleep_ms(1);
    }
  });
  CHECK(worker_came);
  CHECK(blocked);
}

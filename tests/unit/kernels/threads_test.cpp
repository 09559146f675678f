// How many threads there are to be.
#include "kernels/threads.h"

#include <ATen/Parallel.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <set>
#include <string>

#include "tests/support/catch.h"

using namespace demask::kernels;

namespace {

// What `number` gives in a process of its own, where the environment and the affinity can be changed.
template <typename Prepare, typename Number>
int in_child(const Prepare& prepare, const Number& number) {
  const pid_t child = fork();
  if (child == 0) {
    prepare();
    _exit(static_cast<int>(number()));
  }
  REQUIRE(child > 0);
  int status = -1;
  waitpid(child, &status, 0);
  REQUIRE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

}  // namespace

TEST_CASE("OMP_NUM_THREADS is a number, or a list whose first number counts") {
  CHECK(asked_threads("3") == 3);
  CHECK(asked_threads(" 12 ") == 12);
  CHECK(asked_threads("+4") == 4);
  CHECK(asked_threads("4,2") == 4);
  CHECK(asked_threads("32000") == 32000);
}

TEST_CASE("An absurd number of threads is a large one") {
  REQUIRE(asked_threads("99999999999999999999999999"));
  CHECK(*asked_threads("99999999999999999999999999") > 32000);
}

TEST_CASE("What is no number of threads asks for none") {
  for (const char* text : {"", " ", "0", "00", "-1", "-", "+", "two", "2x", "1.5", "0x2", ",2", "2 3"}) {
    CAPTURE(text);
    CHECK_FALSE(asked_threads(text));
  }
}

TEST_CASE("A quota of a cgroup is rounded up to whole cores") {
  CHECK(cores_of_quota("200000 100000\n") == 2);
  CHECK(cores_of_quota("150000 100000\n") == 2);
  CHECK(cores_of_quota("1000 100000") == 1);
  for (const char* text : {"max 100000\n", "", "max", "100000", "0 100000", "100000 0", "a b"}) {
    CAPTURE(text);
    CHECK_FALSE(cores_of_quota(text));
  }
}

TEST_CASE("An affinity mask limits the threads") {
  const auto one_core = [] {
    cpu_set_t mask;
    sched_getaffinity(0, sizeof mask, &mask);
    size_t core = 0;
    while (!CPU_ISSET(core, &mask)) {
      ++core;
    }
    CPU_ZERO(&mask);
    CPU_SET(core, &mask);
    sched_setaffinity(0, sizeof mask, &mask);
  };
  CHECK(in_child(one_core, usable_cores) == 1);
}

TEST_CASE("The shared pool has as many threads as were settled on, in the child of a fork too") {
  CHECK(shared_pool().threads() == thread_count());
  CHECK(thread_count() <= usable_cores());
  CHECK(in_child([] {}, [] { return shared_pool().threads() == thread_count() ? 0 : 1; }) == 0);
}

TEST_CASE("LibTorch gets as many threads") {
  settle_threads();
  CHECK(at::get_num_threads() == thread_count());
}

#include "demask/app/batching.h"

#include <new>
#include <utility>
#include <vector>

#include "demask/core/error.h"
#include "tests/support/catch.h"

using namespace demask;

namespace {

using Batches = std::vector<std::pair<int64_t, int64_t>>;

// Runs a plan on a machine that has room for `fitting` samples, and keeps the batches that came through.
Batches run_with_room_for(int64_t fitting, const BatchPlan& plan) {
  Batches done;
  for_each_batch(plan, at::kCPU, [&](int64_t first, int64_t count) {
    if (count > fitting) {
      throw std::bad_alloc();
    }
    done.emplace_back(first, count);
  });
  return done;
}

}  // namespace

TEST_CASE("A run is cut into batches, the last one shorter") {
  CHECK(run_with_room_for(100, {10, 8, 3}) == Batches{{10, 3}, {13, 3}, {16, 2}});
}

TEST_CASE("A batch that runs out of memory is halved and tried again, and every sample is drawn once") {
  CHECK(run_with_room_for(3, {0, 10, 8}) == Batches{{0, 2}, {2, 2}, {4, 2}, {6, 2}, {8, 2}});
  CHECK(run_with_room_for(1, {5, 3, 3}) == Batches{{5, 1}, {6, 1}, {7, 1}});
}

TEST_CASE("When not even one sample fits, the run fails and says so") {
  try {
    run_with_room_for(0, {0, 4, 4});
    FAIL("did not fail");
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::failed);
    CHECK(std::string(error.what()).find("single sample") != std::string::npos);
  }
}

TEST_CASE("Other errors are not retried") {
  int calls = 0;
  CHECK_THROWS_AS(for_each_batch({0, 4, 4}, at::kCPU,
                                 [&](int64_t, int64_t) {
                                   ++calls;
                                   throw Error(ExitCode::interrupted, "interrupted");
                                 }),
                  Error);
  CHECK(calls == 1);
}

TEST_CASE("A requested batch size is kept, but is never more than there are samples") {
  CHECK(choose_batch_size(3, 8, 512, 66, at::kCPU) == 3);
  CHECK(choose_batch_size(100, 8, 512, 66, at::kCPU) == 8);
  CHECK(choose_batch_size(std::nullopt, 4, 16, 66, at::kCPU) == 4);
  CHECK(choose_batch_size(std::nullopt, 1000000, int64_t{1} << 40, 66, at::kCPU) == 1);
}

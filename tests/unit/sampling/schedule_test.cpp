#include "sampling/schedule.h"

#include "tests/support/catch.h"

using demask::MaskSchedule;

TEST_CASE("The linear schedule falls from start to end and reveals everything in the last iteration") {
  const MaskSchedule schedule = MaskSchedule::linear(5, 0.9, 0.1);
  REQUIRE(schedule.iterations() == 5);
  CHECK(schedule.remask_ratio(0) == Catch::Approx(0.7));
  CHECK(schedule.remask_ratio(3) == Catch::Approx(0.1));
  CHECK(schedule.remask_ratio(4) == 0.0);
}

TEST_CASE("Counts are truncated in double arithmetic as Python truncates them") {
  // int(512 * (0.95 - i / 49 * 0.9)) for i = 1, 2, 25, 49, computed by Python 3.11.
  const MaskSchedule schedule = MaskSchedule::linear(50, 0.95, 0.05);
  CHECK(schedule.remask_count(0, 512, 512) == 476);
  CHECK(schedule.remask_count(1, 512, 512) == 467);
  CHECK(schedule.remask_count(24, 512, 512) == 251);
  CHECK(schedule.remask_count(48, 512, 512) == 25);
  CHECK(schedule.remask_count(49, 512, 512) == 0);
  CHECK(MaskSchedule::custom({1.0, 0.29}).remask_count(0, 100, 100) == 28);  // int(100 * 0.29) is 28 in doubles
}

TEST_CASE("A custom schedule has one iteration a ratio and skips the first ratio, since all starts masked") {
  const MaskSchedule schedule = MaskSchedule::custom({0.9, 0.5, 0.25});
  REQUIRE(schedule.iterations() == 3);
  CHECK(schedule.remask_count(0, 8, 8) == 4);
  CHECK(schedule.remask_count(1, 8, 8) == 2);
  CHECK(schedule.remask_count(2, 8, 8) == 0);
}

TEST_CASE("One iteration masks nothing again") {
  CHECK(MaskSchedule::linear(1, 0.95, 0.05).remask_count(0, 100, 100) == 0);
}

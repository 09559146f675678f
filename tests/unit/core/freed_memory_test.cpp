#include "core/freed_memory.h"

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <string>

#include "tests/support/catch.h"

using namespace demask;

namespace {

// A constant of the executable, read from its file.
constexpr size_t page = 4096, constant_bytes = size_t{1} << 20;
__asm__(
    ".pushsection .rodata\n"
    ".balign 4096\n"
    "demask_test_constant:\n"
    ".fill 1048576, 1, 7\n"
    ".popsection\n");
extern "C" const char demask_test_constant[];

int64_t sum_of_pages() {
  int64_t sum = 0;
  for (size_t at = 0; at < constant_bytes; at += page) {
    sum += demask_test_constant[at];
  }
  return sum;
}

// Of pages of files that this process has in memory, in KiB.
int64_t resident_file_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string key; status >> key;) {
    if (int64_t kib = 0; key == "RssFile:" && status >> kib) {
      return kib;
    }
  }
  return 0;
}

}  // namespace

TEST_CASE("Constants of the executable leave memory and are the same when they are looked at again") {
  REQUIRE(sum_of_pages() == 7 * static_cast<int64_t>(constant_bytes / page));
  const int64_t before = resident_file_kib();
  return_constants_of_libraries();
  const int64_t after = resident_file_kib();
  CHECK(before - after > static_cast<int64_t>(constant_bytes / 1024) / 2);
  CHECK(sum_of_pages() == 7 * static_cast<int64_t>(constant_bytes / page));
}

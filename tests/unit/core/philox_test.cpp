#include "core/philox.h"

#include "tests/support/catch.h"

using demask::philox::Counter;
using demask::philox::generate;
using demask::philox::to_uniform;

TEST_CASE("Philox4x32-10 gives the known answers published with Random123") {
  CHECK(generate({0, 0, 0, 0}, {0, 0}) == Counter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  constexpr uint32_t ones = 0xffffffff;
  CHECK(generate({ones, ones, ones, ones}, {ones, ones}) == Counter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(generate({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Counter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("A uniform number is never 0 and never 1") {
  CHECK(to_uniform(0) == 0x1p-24F);
  CHECK(to_uniform(0xffffffff) == 1.0F - 0x1p-24F);
}

#include "engine/resolve.h"

#include <ATen/ATen.h>

#include "core/error.h"
#include "tests/support/catch.h"

using namespace demask;

namespace {

constexpr bool multiplies = true;

void check(const Dtypes& dtypes, at::ScalarType native, at::ScalarType module) {
  CHECK(dtypes.native == native);
  CHECK(dtypes.module == module);
}

}  // namespace

TEST_CASE("The automatic precision is the fastest that the device computes in") {
  check(resolve_dtype(Precision::automatic, at::kCUDA, multiplies), at::kBFloat16, at::kBFloat16);
  check(resolve_dtype(Precision::automatic, at::kCUDA, !multiplies), at::kHalf, at::kHalf);
  check(resolve_dtype(Precision::automatic, at::kCPU, multiplies), at::kBFloat16, at::kFloat);
  check(resolve_dtype(Precision::automatic, at::kCPU, !multiplies), at::kFloat, at::kFloat);
}

TEST_CASE("A precision that was named is taken, except that an old GPU goes on in float32 for bfloat16") {
  check(resolve_dtype(Precision::float32, at::kCUDA, multiplies), at::kFloat, at::kFloat);
  check(resolve_dtype(Precision::float16, at::kCUDA, !multiplies), at::kHalf, at::kHalf);
  check(resolve_dtype(Precision::bfloat16, at::kCPU, !multiplies), at::kBFloat16, at::kBFloat16);
  check(resolve_dtype(Precision::bfloat16, at::kCUDA, multiplies), at::kBFloat16, at::kBFloat16);
  check(resolve_dtype(Precision::bfloat16, at::kCUDA, !multiplies), at::kFloat, at::kFloat);
  CHECK_THROWS_AS(resolve_dtype(Precision::float16, at::kCPU, multiplies), Error);
}

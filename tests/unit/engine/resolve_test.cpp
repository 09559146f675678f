#include "engine/resolve.h"

#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "core/error.h"
#include "model/device.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/word_pieces.h"

using namespace demask;
using demask::testing::message_of;

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
  check(resolve_dtype(Precision::int8, at::kCPU, multiplies), at::kChar, at::kChar);
  CHECK_THROWS_AS(resolve_dtype(Precision::float16, at::kCPU, multiplies), Error);
}

TEST_CASE("Devices are those that are named, and where one is not here the message says which") {
  CHECK(resolve_devices("cpu") == std::vector<at::Device>{at::kCPU});
  CHECK(resolve_devices("auto").front().is_cuda() == (cuda_device_count() > 0));
  const bool has_cuda = cuda_device_count() > 0;
  try {
    resolve_devices("cuda:0,99");
    FAIL("a device that is not here was taken");
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::bad_usage);
    CHECK(std::string(error.what()).find("device='cuda:0,99'") != std::string::npos);
    CHECK(std::string(error.what()).find(has_cuda ? "there is no cuda:99" : "no CUDA device") != std::string::npos);
  }
  CHECK(name_of({at::kCPU}) == "cpu");
  CHECK(name_of({at::Device(at::kCUDA, 2), at::Device(at::kCUDA, 0)}) == "cuda:2,0");
}

TEST_CASE("int8 on CUDA is refused with what to use there") {
  const std::string message = message_of([] { resolve_dtype(Precision::int8, at::kCUDA, multiplies); });
  CHECK(message ==
        "dtype='int8' is for the CPU, whose kernels multiply in it. Use --device=cpu, or --dtype=bfloat16 on "
        "cuda.");
}

TEST_CASE("The edges of words are those of the pieces that have text, up to the model's outputs") {
  const demask::testing::WordPieces vocabulary({" th", "in", "g,", "eos", "a", "b"}, /*special=*/{3});
  const WordEdges edges = word_edges(vocabulary, 5, at::kCPU);
  const auto flags = [](const at::Tensor& edge) {
    return std::vector<bool>(edge.data_ptr<bool>(), edge.data_ptr<bool>() + edge.numel());
  };
  CHECK(flags(edges.begins_within) == std::vector<bool>{false, true, true, false, true});
  CHECK(flags(edges.ends_within) == std::vector<bool>{true, true, false, false, true});
  CHECK(flags(word_edges(vocabulary, 8, at::kCPU).begins_within) ==
        std::vector<bool>{false, true, true, false, true, true, false, false});  // a mask, and what nothing names
  CHECK_FALSE(edges.of_letters);
}

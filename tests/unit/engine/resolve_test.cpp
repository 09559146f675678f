#include "engine/resolve.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/error.h"
#include "model/device.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/goldens.h"
#include "text/character_vocabulary.h"
#include "text/read_vocabulary.h"

using namespace demask;
using demask::testing::goldens;
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

TEST_CASE("The mask is the flag's, else the model's, else the vocabulary's, else the first id past it") {
  const auto vocabulary = read_vocabulary(goldens + "llada/model/tokenizer.json");
  ModelInfo model;
  model.output_size = 384;
  model.mask_token_id = 352;
  CHECK(resolve_mask_token(7, *vocabulary, model) == 7);
  CHECK(resolve_mask_token({}, *vocabulary, model) == 352);
  model.mask_token_id.reset();
  CHECK(resolve_mask_token({}, *vocabulary, model) == vocabulary->mask_token_id().value_or(vocabulary->size()));
  const auto without_mask = read_vocabulary(goldens + "gpt2/model/tokenizer.json");
  model.output_size = without_mask->size() + 1;
  CHECK(resolve_mask_token({}, *without_mask, model) == without_mask->size());
  model.output_size = without_mask->size();
  CHECK_FALSE(resolve_mask_token({}, *without_mask, model));
}

TEST_CASE("A vocabulary of characters that names its mask is believed before the model") {
  const CharacterVocabulary vocabulary({"a", "b"}, 5);
  ModelInfo model;
  model.output_size = 8;
  model.mask_token_id = 3;
  CHECK(resolve_mask_token({}, vocabulary, model) == 5);
}

TEST_CASE("Special tokens are never drawn, but for the end of text") {
  const auto vocabulary = read_vocabulary(goldens + "llada/model/tokenizer.json");
  const std::vector<int64_t> allowed = allowed_tokens(*vocabulary, 352);
  const auto may_draw = [&](int64_t id) { return std::count(allowed.begin(), allowed.end(), id) > 0; };
  int64_t marks = 0;
  for (int64_t id = 0; id < vocabulary->size(); ++id) {
    CAPTURE(id, vocabulary->token(id));
    if (vocabulary->is_special(id) && id != vocabulary->end_of_text()) {
      ++marks;
      CHECK_FALSE(may_draw(id));
    } else {
      CHECK(may_draw(id) == (vocabulary->has_text(id) && id != 352));
    }
  }
  CHECK(marks > 0);
  REQUIRE(vocabulary->end_of_text());
  CHECK(may_draw(*vocabulary->end_of_text()));
}

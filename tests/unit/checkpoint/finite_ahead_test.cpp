#include "checkpoint/finite_ahead.h"

#include <ATen/ATen.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>
#include <string>

#include "checkpoint/nanogpt_weights.h"
#include "tests/unit/checkpoint/small_checkpoints.h"

using Catch::Matchers::ContainsSubstring;
using demask::FiniteAhead;
using demask::NanoGptFile;
using namespace demask::testing;

namespace {

constexpr uint64_t all_bytes = std::numeric_limits<uint64_t>::max();

// tiny_checkpoint() with this head.
void write_with_head(const std::string& path, const at::Tensor& head) {
  CheckpointFile file = tiny_checkpoint();
  set_entry(file.model, "lm_head.weight", "");
  file.add_tensor("lm_head.weight", head);
  file.write(path);
}

std::set<std::string> known_of(const std::string& path, uint64_t most_bytes = all_bytes) {
  const NanoGptFile file(path);
  FiniteAhead ahead;
  ahead.look_through(file, most_bytes);
  std::set<std::string> known;
  for (const std::string& name : file.names()) {
    if (ahead.knows(name, *file.mapped())) {
      known.insert(name);
    }
  }
  return known;
}

std::set<std::string> weights_in(const std::string& path) {
  const std::vector<std::string> names = NanoGptFile(path).names();
  return {names.begin(), names.end()};
}

}  // namespace

TEST_CASE("Weights in float32 that are finite in bfloat16 too are known after a look ahead, and no others") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.pt";
  write_with_head(path, at::ones({3, 4}));
  std::set<std::string> all = weights_in(path);
  CHECK(known_of(path) == all);
  CHECK(known_of(path, 0).empty());
  all.erase("lm_head.weight");
  // Halfway between the largest number of bfloat16, 3.3895e38, and 2^128 it rounds up.
  for (const float wrong : {std::nanf(""), HUGE_VALF, -HUGE_VALF, 3.397e38F}) {
    for (const int64_t place : {0, 5, 11}) {
      CAPTURE(wrong, place);
      at::Tensor head = at::ones({3, 4});
      head.view({-1})[place] = wrong;
      write_with_head(path, head);
      CHECK(known_of(path) == all);
    }
  }
  write_with_head(path, at::full({3, 4}, 3.395e38F));
  CHECK(known_of(path).count("lm_head.weight") == 1);
  write_with_head(path, at::ones({3, 4}, at::kHalf));
  CHECK(known_of(path) == all);
}

TEST_CASE("A look ahead at a storage of many parts sees the last number") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.pt";
  CheckpointFile file = tiny_checkpoint();
  constexpr int64_t rows = 100'003;
  set_entry(file.model_args, "vocab_size", pickled::integer(rows));
  for (const char* name : {"transformer.wte.weight", "lm_head.weight"}) {
    set_entry(file.model, name, "");
  }
  at::Tensor table = at::ones({rows, 4});
  file.add_tensor("transformer.wte.weight", table.clone());
  table[rows - 1][3] = std::nanf("");
  file.add_tensor("lm_head.weight", table);
  file.write(path);
  const std::set<std::string> known = known_of(path);
  CHECK(known.count("transformer.wte.weight") == 1);
  CHECK(known.count("lm_head.weight") == 0);
}

TEST_CASE("A file that was written to after a look ahead is another file") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.pt";
  tiny_checkpoint().write(path);
  FiniteAhead ahead;
  const NanoGptFile before(path);
  ahead.look_through(before, all_bytes);
  REQUIRE(ahead.knows("lm_head.weight", *before.mapped()));
  std::filesystem::last_write_time(path, std::filesystem::last_write_time(path) + std::chrono::seconds(1));
  CHECK_FALSE(ahead.knows("lm_head.weight", *NanoGptFile(path).mapped()));
  const std::string other = folder / "y.pt";
  tiny_checkpoint().write(other);
  CHECK_FALSE(ahead.knows("lm_head.weight", *NanoGptFile(other).mapped()));
}

TEST_CASE("What a look ahead has found finite is lent without another look, and what it has not is looked at") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.pt";
  write_with_head(path, at::full({3, 4}, 0.3F));
  const auto ahead = std::make_shared<FiniteAhead>();
  const auto empty = std::make_shared<FiniteAhead>();
  {
    const NanoGptFile file(path);
    ahead->look_through(file, all_bytes);
    // NaN takes a number's place as if it had been there: the file keeps its length and its time.
    const auto time = std::filesystem::last_write_time(path);
    const float wrong = std::nanf("");
    std::fstream bytes(path, std::ios::binary | std::ios::in | std::ios::out);
    bytes.seekp(static_cast<std::streamoff>(file.storage_begin("lm_head.weight")));
    bytes.write(reinterpret_cast<const char*>(&wrong), sizeof wrong);
    bytes.close();
    std::filesystem::last_write_time(path, time);
  }
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const auto lent_head = [&](const std::shared_ptr<FiniteAhead>& finite) {
      const auto source = demask::open_nanogpt(path, at::TensorOptions(dtype), finite);
      source->lend_for_good();
      return source->head().weight.clone();
    };
    CHECK(std::isnan(lent_head(ahead)[0][0].item<float>()));
    for (const auto& finite : {empty, std::shared_ptr<FiniteAhead>()}) {
      CHECK_THAT(bad_input_message([&] { lent_head(finite); }),
                 ContainsSubstring("'lm_head.weight' holds 1 numbers that are NaN or infinite"));
    }
  }
}

TEST_CASE("A look ahead that was stopped knows nothing more") {
  const TemporaryFolder folder;
  const std::string path = folder / "x.pt";
  tiny_checkpoint().write(path);
  const NanoGptFile file(path);
  FiniteAhead ahead;
  ahead.stop();
  ahead.look_through(file, all_bytes);
  for (const std::string& name : file.names()) {
    CHECK_FALSE(ahead.knows(name, *file.mapped()));
  }
}

// How much memory reading a checkpoint takes at its peak, as the kernel counts it.
#include <ATen/ATen.h>
#include <malloc.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <memory>
#include <string>

#include "checkpoint/export_model.h"
#include "checkpoint/nanogpt_checkpoint.h"
#include "checkpoint/read_model.h"
#include "tests/support/catch.h"
#include "tests/support/checkpoint_files.h"
#include "tests/support/process.h"
#include "tests/support/sanitized.h"

using namespace demask;
using namespace demask::testing;

namespace {

constexpr int64_t width = 1024, ids = 4096;

int64_t status_kib(const std::string& label) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word == label) {
      int64_t kib = 0;
      status >> kib;
      return kib;
    }
  }
  return 0;
}

void reset_peak() {
  // Tensors of a megabyte or more come from the kernel and go back to it when they are freed. By default malloc learns
  // from tests that ran before to keep so large ones: one of 8 MB that was kept once made up for the whole margin.
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
  malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << "5\n";  // see proc(5): resets VmHWM
}

// One wide layer in float32, and optimizer state of twice its size. Returns the bytes of its weights.
int64_t write_large_checkpoint(const std::string& path) {
  using namespace pickled;
  CheckpointFile file;
  file.model_args = {{"n_layer", integer(1)},     {"n_head", integer(8)},       {"n_embd", integer(width)},
                     {"block_size", integer(64)}, {"vocab_size", integer(ids)}, {"bias", boolean(false)}};
  ModelArgs args;
  args.n_layer = 1;
  args.n_head = 8;
  args.n_embd = width;
  args.block_size = 64;
  args.vocab_size = ids;
  int64_t bytes = 0;
  for (const auto& [name, shape] : expected_parameters(args)) {
    const at::Tensor weight = at::full(shape, 0.5, at::kFloat);
    bytes += static_cast<int64_t>(weight.nbytes());
    file.add_tensor(name, weight);
  }
  const size_t weights = file.model.size();
  file.add_tensor("exp_avg", at::full({bytes / 4}, 0.25, at::kFloat));
  file.add_tensor("exp_avg_sq", at::full({bytes / 4}, 0.25, at::kFloat));
  file.others.emplace_back("optimizer", object({file.model[weights], file.model[weights + 1]}));
  file.model.resize(weights);
  file.write(path);
  return bytes;
}

constexpr int64_t hidden = 4 * width, layers = 2;

// A folder in float32 of GPT-2's family, whose weights are turned around when they are read. Returns their number.
int64_t write_large_folder(const std::string& path) {
  TransformerWeights weights;
  weights.description.family = "gpt2";
  weights.description.layers = layers;
  weights.description.heads = weights.description.key_value_heads = 8;
  weights.description.head_width = width / 8;
  weights.description.width = width;
  weights.description.feed_forward_width = hidden;
  weights.description.block_size = 64;
  weights.description.vocabulary_size = weights.description.outputs = ids;
  weights.description.activation = Activation::gelu_tanh;
  weights.description.tied_head = true;
  const at::Tensor row = at::full({hidden}, 0.5, at::kFloat);
  const auto vector = [&](int64_t size) { return row.slice(0, 0, size); };
  const auto matrix = [&](int64_t rows, int64_t columns) { return vector(columns).expand({rows, columns}); };
  const NormWeights norm{vector(width), vector(width)};
  weights.token_embedding = matrix(ids, width);
  weights.position_embedding = matrix(64, width);
  weights.final_norm = norm;
  for (int64_t number = 0; number < layers; ++number) {
    weights.layers.push_back({norm,
                              {matrix(3 * width, width), vector(3 * width)},
                              {},
                              {},
                              {matrix(width, width), vector(width)},
                              norm,
                              {matrix(hidden, width), vector(hidden)},
                              {matrix(width, hidden), vector(width)}});
  }
  export_model(weights, path);
  return (ids + 64 + layers * 12 * width) * width;
}

// At the peak, while the parts of a folder are read one after the other.
int64_t kib_taken_part_by_part(const std::string& path, at::ScalarType dtype) {
  reset_peak();
  const int64_t before_kib = status_kib("VmHWM:");
  const std::unique_ptr<WeightSource> source = open_model_folder(path, dtype);
  CHECK(source->token_embedding()[ids - 1][width - 1].item<float>() == 0.5F);
  for (int64_t number = 0; number < layers; ++number) {
    CHECK(source->layer(number).contract.weight[width - 1][hidden - 1].item<float>() == 0.5F);
  }
  return status_kib("VmHWM:") - before_kib;
}

}  // namespace

TEST_CASE("Reading a checkpoint takes at most 1.5 times its weights at the peak, optimizer state or not") {
  if (sanitized) {
    return;
  }
  const TemporaryFolder folder;
  const int64_t weights_kib = write_large_checkpoint(folder / "large.pt") / 1024;
  reset_peak();
  const int64_t before_kib = status_kib("VmHWM:");
  const NanoGptCheckpoint checkpoint = read_nanogpt_checkpoint(folder / "large.pt");
  const int64_t taken_kib = status_kib("VmHWM:") - before_kib;
  CAPTURE(weights_kib, before_kib, taken_kib);
  CHECK(checkpoint.parameters.at("lm_head.weight")[ids - 1][width - 1].item<float>() == 0.5F);
  CHECK(taken_kib > weights_kib / 2);  // or the measure does not measure
  CHECK(taken_kib * 2 <= weights_kib * 3);
}

TEST_CASE("Reading a folder into another precision takes 1.25 times its weights in that precision at the peak") {
  if (sanitized) {
    return;
  }
  const TemporaryFolder folder;
  const int64_t weights_kib = write_large_folder(folder / "model") * 2 / 1024;
  reset_peak();
  const int64_t before_kib = status_kib("VmHWM:");
  const TransformerWeights weights = read_model_folder(folder / "model", at::kBFloat16);
  const int64_t taken_kib = status_kib("VmHWM:") - before_kib;
  CAPTURE(weights_kib, before_kib, taken_kib);
  CHECK(weights.layers[1].contract.weight[width - 1][hidden - 1].item<float>() == 0.5F);
  CHECK(taken_kib > weights_kib / 2);
  CHECK(taken_kib * 4 <= weights_kib * 5);
}

TEST_CASE("Reading a folder part by part takes 1.5 times its largest part at the peak, in any precision") {
  if (sanitized) {
    return;
  }
  const TemporaryFolder folder;
  const int64_t elements = write_large_folder(folder / "model");
  const int64_t largest_part = 12 * width * width;  // a layer
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const int64_t part_kib = largest_part * static_cast<int64_t>(at::elementSize(dtype)) / 1024;
    // Of three readings the least: once in hundreds beside other work one was 5 MiB above all others, which what is
    // read does not explain. What the code holds too long is in all three.
    int64_t taken_kib = INT64_MAX;
    for (int reading = 0; reading < 3; ++reading) {
      taken_kib = std::min(taken_kib, kib_taken_part_by_part(folder / "model", dtype));
    }
    CAPTURE(dtype, elements, part_kib, taken_kib);
    CHECK(taken_kib > part_kib / 2);
    CHECK(taken_kib * 2 <= part_kib * 3);
  }
}

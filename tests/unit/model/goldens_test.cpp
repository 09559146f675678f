// Logits of the field's own code, in float64, for little models of every family: tests/fixtures/goldens.
#include "tests/support/goldens.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/nanogpt_weights.h"
#include "checkpoint/read_model.h"
#include "model/device.h"
#include "model/transformer.h"
#include "tests/support/catch.h"

using namespace demask;
using namespace demask::testing;
using nlohmann::json;

namespace {

namespace fs = std::filesystem;

// float32 code is within this of them, as the goldens' makers found of the field's own.
constexpr double tolerance = 1e-4;

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const auto& entry : fs::directory_iterator(goldens)) {
    if (fs::exists(entry.path() / "expected.json")) {
      all.push_back(entry.path().filename().string());
    }
  }
  std::sort(all.begin(), all.end());
  return all;
}

std::unique_ptr<Transformer> load(const std::string& name, at::Device device, KernelChoice kernels) {
  const fs::path folder = fs::path(goldens) / name / "model", checkpoint = folder / "ckpt.pt";
  const auto convert = [&](const at::Tensor& parameter) { return parameter.to(device, at::kFloat); };
  TransformerWeights weights = fs::exists(checkpoint)
                                   ? nanogpt_weights(read_nanogpt_checkpoint(checkpoint.string(), convert))
                                   : read_model_folder(folder.string(), at::TensorOptions(at::kFloat).device(device));
  return std::make_unique<Transformer>(std::move(weights), "", kernels);
}

template <typename Number>
at::Tensor tensor_of(const json& numbers) {
  return at::tensor(numbers.get<std::vector<Number>>());
}

// [rows, columns] float64
at::Tensor table_of(const json& rows) {
  std::vector<at::Tensor> tensors;
  for (const json& row : rows) {
    tensors.push_back(tensor_of<double>(row));
  }
  return at::stack(tensors);
}

double furthest(const at::Tensor& left, const at::Tensor& right) {
  return (left - right).abs().max().item<double>();
}

// Where the logits for each position stand among those that the field's code gives: one to the left where the family
// shifts them.
at::Tensor places_of(const json& expected, int64_t length) {
  const bool shifted = expected["family"] == "dream";
  return shifted ? at::arange(-1, length - 1).clamp_min(0) : at::arange(length);
}

void check_sequence(Transformer& model, const json& expected, const json& sequence) {
  const at::Tensor ids = tensor_of<int64_t>(sequence["ids"]);
  const at::Tensor logits = model.logits(ids.unsqueeze(0).to(model.device()))[0].to(at::kCPU, at::kDouble);  // [T, V]
  const at::Tensor places = places_of(expected, ids.size(0));
  const at::Tensor probes = tensor_of<int64_t>(sequence["probe_ids"]);
  CHECK(furthest(logits.index_select(1, probes), table_of(sequence["logits"]).index_select(0, places)) < tolerance);
  CHECK(furthest(logits.logsumexp(1), tensor_of<double>(sequence["logsumexp"]).index_select(0, places)) < tolerance);
  CHECK(furthest(logits.amax(1), tensor_of<double>(sequence["argmax_logit"]).index_select(0, places)) < tolerance);
  CHECK(at::equal(logits.argmax(1), tensor_of<int64_t>(sequence["argmax"]).index_select(0, places)));
  if (sequence.contains("argmax_shifted")) {
    CHECK(at::equal(logits.argmax(1), tensor_of<int64_t>(sequence["argmax_shifted"])));
  }
}

void check_model(const std::string& name, at::Device device, KernelChoice kernels) {
  CAPTURE(name, device.str(), kernels);
  const json expected = expected_of(name);
  const std::unique_ptr<Transformer> model = load(name, device, kernels);
  for (const json& sequence : expected["logits"]) {
    check_sequence(*model, expected, sequence);
  }
}

}  // namespace

TEST_CASE("Every family's logits are those of the field's own code, by demask's kernels and by LibTorch's operations") {
  REQUIRE(names().size() == 12);
  for (const std::string& name : names()) {
    check_model(name, at::kCPU, KernelChoice::own);
    check_model(name, at::kCPU, KernelChoice::libtorch);
    if (cuda_device_count() > 0) {
      check_model(name, at::kCUDA, KernelChoice::own);
      check_model(name, at::kCUDA, KernelChoice::libtorch);
    }
  }
}

TEST_CASE("The mask token is the one that the field's configuration names") {
  for (const std::string& name : names()) {
    CAPTURE(name);
    const json expected = expected_of(name);
    const auto mask = load(name, at::kCPU, KernelChoice::libtorch)->info().mask_token_id;
    CHECK(mask.has_value() == expected.contains("mask_token_id"));
    CHECK(mask.value_or(-1) == expected.value("mask_token_id", -1));
  }
}

TEST_CASE("MDLM's probabilities of tokens are those of its substitution") {
  const json expected = expected_of("mdlm");
  const int64_t mask = expected["mask_token_id"];
  const std::unique_ptr<Transformer> model = load("mdlm", at::kCPU, KernelChoice::own);
  for (const json& sequence : expected["logits"]) {
    const at::Tensor ids = tensor_of<int64_t>(sequence["ids"]);
    at::Tensor logits = model->logits(ids.unsqueeze(0))[0].to(at::kDouble);
    logits.select(1, mask).fill_(-1e6);  // the mask is never drawn
    const at::Tensor rows = ids.eq(mask).nonzero().squeeze(1);
    const at::Tensor probes = tensor_of<int64_t>(sequence["probe_ids"]);
    const at::Tensor drawn = probes.ne(mask).nonzero().squeeze(1);
    const auto among_drawn = [&](const at::Tensor& table) {
      return table.index_select(0, rows).index_select(1, drawn);
    };
    CHECK(furthest(among_drawn(logits.log_softmax(1).index_select(1, probes)),
                   among_drawn(table_of(sequence["subs_log_probs"]))) < tolerance);
    CHECK(at::equal(logits.argmax(1).index_select(0, rows),
                    tensor_of<int64_t>(sequence["subs_argmax"]).index_select(0, rows)));
  }
}

#include "bench/quality/judge.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "config/command_line.h"
#include "core/error.h"
#include "engine/prompt_tokens.h"
#include "sampling/confidence.h"

namespace demask::quality {
namespace {

using Ids = std::vector<int64_t>;

constexpr size_t largest_batch = 64;

Context open_judge(const std::string& checkpoint_name, const bench::Options& options) {
  std::vector<std::string> arguments = bench::passed_through(options);
  arguments.insert(arguments.end(),
                   {"--sampling_method=standard", "--checkpoint_name=" + checkpoint_name, "--dtype=float32"});
  Context context = open_context(parse_command_line(arguments).parsed);
  if (!context.model->info().causal) {
    fail(ExitCode::bad_input,
         "'{}' is no judge: it does not read from left to right. Name a causal model with --judge.",
         context.checkpoint);
  }
  return context;
}

// [B, T] int64 on `device`.
at::Tensor stack(const std::vector<Ids>& texts, at::Device device) {
  std::vector<at::Tensor> rows;
  rows.reserve(texts.size());
  for (const Ids& text : texts) {
    rows.push_back(at::tensor(text, at::kLong));
  }
  return at::stack(rows).to(device);
}

}  // namespace

Judge::Judge(const std::string& checkpoint_name, const bench::Options& options)
    : context_(open_judge(checkpoint_name, options)), model_(*context_.model, context_.checkpoint) {}

std::vector<double> Judge::judge_batch(const std::vector<Ids>& texts) {
  const c10::InferenceMode inference;
  const at::Tensor confidence = next_token_confidence(model_, stack(texts, context_.device)).neg().cpu();
  model_.check();
  const auto* values = confidence.data_ptr<double>();
  return {values, values + confidence.numel()};
}

std::vector<double> Judge::nats_per_character(const std::vector<std::string>& texts) {
  std::vector<double> nats;
  std::vector<Ids> batch;
  const auto judge_what_there_is = [&] {
    const std::vector<double> more = judge_batch(std::exchange(batch, {}));
    nats.insert(nats.end(), more.begin(), more.end());
  };
  for (const std::string& text : texts) {
    Ids ids = encode_text("the judged text", text, *context_.vocabulary, TextReading{});
    if (!batch.empty() && (batch.size() == largest_batch || batch.front().size() != ids.size())) {
      judge_what_there_is();
    }
    batch.push_back(std::move(ids));
  }
  if (!batch.empty()) {
    judge_what_there_is();
  }
  return nats;
}

}  // namespace demask::quality

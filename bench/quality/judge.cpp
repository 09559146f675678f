#include "bench/quality/judge.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <cstddef>
#include <map>
#include <utility>

#include "config/command_line.h"
#include "core/error.h"
#include "engine/prompt_tokens.h"
#include "sampling/confidence.h"

namespace demask::quality {
namespace {

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

Ids Judge::encode(const std::string& text) const {
  return encode_text("the judged text", text, *context_.vocabulary, TextReading{});
}

Readings Judge::read(const std::vector<std::string>& texts) {
  Readings readings;
  std::map<size_t, std::vector<size_t>> of_length;  // indices of texts: only those of one length fit into one batch
  for (const std::string& text : texts) {
    of_length[readings.tokens.emplace_back(encode(text)).size()].push_back(readings.tokens.size() - 1);
  }
  std::vector<Ids> batch;
  const auto judge_what_there_is = [&] {
    const std::vector<double> more = judge_batch(std::exchange(batch, {}));
    readings.nats.insert(readings.nats.end(), more.begin(), more.end());
  };
  for (const auto& [length, indices] : of_length) {
    for (const size_t index : indices) {
      if (length > 1) {
        batch.push_back(readings.tokens[index]);
      }
      if (batch.size() == largest_batch || (!batch.empty() && index == indices.back())) {
        judge_what_there_is();
      }
    }
  }
  return readings;
}

std::vector<std::string> Judge::windows(const std::string& text, int64_t count, int64_t length) const {
  std::vector<std::string> texts;
  for (const Ids& window : spaced_windows(encode(text), count, length)) {
    texts.push_back(context_.vocabulary->decode(window));
  }
  return texts;
}

}  // namespace demask::quality

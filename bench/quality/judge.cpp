#include "bench/quality/judge.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <map>

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
  readings.nats.resize(texts.size(), std::numeric_limits<double>::quiet_NaN());
  for (const auto& [length, indices] : of_length) {
    for (size_t start = 0; length > 1 && start < indices.size(); start += largest_batch) {
      const size_t end = std::min(start + largest_batch, indices.size());
      std::vector<Ids> batch;
      for (size_t i = start; i < end; ++i) {
        batch.push_back(readings.tokens[indices[i]]);
      }
      const std::vector<double> nats = judge_batch(batch);
      for (size_t i = start; i < end; ++i) {
        readings.nats[indices[i]] = nats[i - start];
      }
    }
  }
  return readings;
}

HeldOutTexts Judge::held_out(const std::string& text, int64_t length, int64_t most) const {
  const HeldOutWindows windows = held_out_windows(encode(text), length, most);
  return {decode(windows.reference), decode(windows.measured)};
}

std::vector<std::string> Judge::decode(const std::vector<Ids>& texts) const {
  std::vector<std::string> decoded;
  decoded.reserve(texts.size());
  for (const Ids& text : texts) {
    decoded.push_back(context_.vocabulary->decode(text));
  }
  return decoded;
}

double Judge::least_distinct() const {
  return context_.vocabulary->characters() ? least_distinct_characters : least_distinct_pieces;
}

}  // namespace demask::quality

#include "output/step_views.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "core/text.h"
#include "core/utf8.h"
#include "output/readable.h"

namespace demask {
namespace {

constexpr int64_t shown_alternatives = 5;
constexpr int64_t shown_positions = 3;
constexpr size_t shown_runs = 3;
constexpr size_t shown_tokens = 10;

// Standard sampling draws one token a sample from logits [B, V]; diffusion has a position axis.
bool is_diffusion(const StepView& view) {
  return view.logits.dim() == 3;
}

std::vector<int64_t> values(const at::Tensor& tokens) {
  const at::Tensor flat = tokens.to(at::kCPU, at::kLong).contiguous();
  return {flat.data_ptr<int64_t>(), flat.data_ptr<int64_t>() + flat.numel()};
}

std::vector<std::vector<int64_t>> rows(const at::Tensor& tokens) {
  std::vector<std::vector<int64_t>> result;
  for (int64_t row = 0; row < tokens.size(0); ++row) {
    result.push_back(values(tokens[row]));
  }
  return result;
}

std::string shape(const at::Tensor& tensor) {
  return fmt::format("[{}]", fmt::join(tensor.sizes().begin(), tensor.sizes().end(), ", "));
}

// Mean over rows of the entropy of log probabilities [M, V], as a share of log V. A forbidden token (-inf) adds
// nothing.
double normalised_entropy(const at::Tensor& log_probabilities) {
  const int64_t vocabulary = log_probabilities.size(1);
  if (vocabulary < 2) {
    return 0.0;
  }
  const at::Tensor probabilities = log_probabilities.exp();
  const at::Tensor terms = (probabilities * log_probabilities).masked_fill(probabilities == 0, 0.0);
  return -terms.sum(1).mean().item<double>() / std::log(static_cast<double>(vocabulary));
}

struct Run {
  int64_t token;
  int64_t sample;  // in the batch
  int64_t position;
  int64_t length;
};

void append_runs(const std::vector<int64_t>& tokens, int64_t sample, std::vector<Run>& runs) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i == 0 || tokens[i] != tokens[i - 1]) {
      runs.push_back({tokens[i], sample, static_cast<int64_t>(i), 0});
    }
    ++runs.back().length;
  }
}

// "7", and in a list of prompts whose sample it is.
std::string name_of(const SampleIdentity& identity) {
  return identity.prompt_id.empty()
             ? std::to_string(identity.index)
             : fmt::format("{} (prompt {}, number {})", identity.index, identity.prompt_id, identity.number);
}

}  // namespace

StepViews::StepViews(std::FILE* stream, const Vocabulary& vocabulary, const StepViewOptions& options)
    : stream_(stream), vocabulary_(vocabulary), options_(options) {}

void StepViews::on_batch(const BatchView& batch) {
  samples_.clear();
  for (const SampleInBatch& sample : batch.samples) {
    samples_.push_back(name_of(sample.identity));
  }
  drawn_.assign(samples_.size(), {});
}

void StepViews::on_step(const StepView& view) {
  std::string text;
  if (options_.verbose) {
    text += is_diffusion(view) ? verbose_iteration(view) : verbose_token(view);
  }
  if (options_.debug) {
    text += debug_view(view);
  }
  show(stream_, text);
}

std::string StepViews::verbose_iteration(const StepView& view) const {
  std::string text = fmt::format("Iteration {}, {}\n", step_of_steps(view), sample_name(0));
  text += fmt::format("  before:    {}\n", line_of(view.before[0]));
  text += fmt::format("  predicted: {}\n", line_of(view.filled[0]));
  text += fmt::format("  remasked:  {}\n", line_of(view.after[0]));
  text += fmt::format("  remask ratio {:.4f}, ", view.remask_ratio);
  const at::Tensor was_masked = view.was_masked[0].to(at::kCPU);
  const at::Tensor chosen = view.probabilities[0].to(at::kCPU).masked_select(was_masked);
  if (chosen.numel() == 0) {
    return text + "no token drawn\n";
  }
  return text + fmt::format("probability of the drawn: min {:.4f}, mean {:.4f}, max {:.4f}\n",
                            chosen.min().item<double>(), chosen.mean().item<double>(), chosen.max().item<double>());
}

std::string StepViews::verbose_token(const StepView& view) const {
  return fmt::format("Token {}/{}, {}: {} with probability {:.4f}\n", view.step + 1, view.steps, sample_name(0),
                     name(view.filled[0][0].item<int64_t>()), view.probabilities[0][0].item<double>());
}

std::string StepViews::debug_view(const StepView& view) {
  std::string text = fmt::format("  shapes: logits {}, drawn {}\n", shape(view.logits), shape(view.filled));
  text += distribution(view);
  if (is_diffusion(view)) {
    const auto texts = rows(view.filled);
    return text + longest_runs(texts) + token_distribution(texts);
  }
  const std::vector<int64_t> tokens = values(view.filled);
  drawn_.resize(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    drawn_[i].push_back(tokens[i]);
  }
  return text + longest_runs(drawn_) + token_distribution(drawn_);
}

std::string StepViews::distribution(const StepView& view) const {
  // Places [M, 2]: sample in the batch and position of every token drawn; logits [M, V] are those they were drawn from.
  at::Tensor logits = view.logits.to(at::kCPU, at::kFloat);
  at::Tensor places;
  if (is_diffusion(view)) {
    const at::Tensor was_masked = view.was_masked.to(at::kCPU);
    places = was_masked.nonzero();
    logits = logits.index({was_masked});
  } else {
    const at::Tensor samples = at::arange(logits.size(0), at::kLong);
    places = at::stack({samples, at::full_like(samples, view.step)}, 1);
  }
  if (logits.size(0) == 0) {
    return "  no token drawn\n";
  }
  const at::Tensor log_probabilities = logits.log_softmax(1);
  const at::Tensor probabilities = log_probabilities.exp();
  return fmt::format("  {} tokens drawn: mean top probability {:.4f}, normalised entropy {:.4f}\n", logits.size(0),
                     probabilities.amax(1).mean().item<double>(), normalised_entropy(log_probabilities)) +
         alternatives(probabilities, places);
}

std::string StepViews::alternatives(const at::Tensor& probabilities, const at::Tensor& places) const {
  const int64_t count = std::min(shown_positions, probabilities.size(0));
  const at::Tensor least_certain = std::get<1>(probabilities.amax(1).topk(count, 0, /*largest=*/false));
  const auto [top, tokens] =
      probabilities.index_select(0, least_certain).topk(std::min(shown_alternatives, probabilities.size(1)), 1);
  std::string text = "  least certain:\n";
  for (int64_t i = 0; i < count; ++i) {
    const at::Tensor place = places[least_certain[i].item<int64_t>()];
    text += fmt::format("    {} position {}:", sample_name(place[0].item<int64_t>()), place[1].item<int64_t>());
    for (int64_t k = 0; k < tokens.size(1); ++k) {
      text += fmt::format(" {} {:.4f}", name(tokens[i][k].item<int64_t>()), top[i][k].item<double>());
    }
    text += '\n';
  }
  return text;
}

std::string StepViews::longest_runs(const std::vector<std::vector<int64_t>>& texts) const {
  std::vector<Run> runs;
  for (size_t sample = 0; sample < texts.size(); ++sample) {
    append_runs(texts[sample], static_cast<int64_t>(sample), runs);
  }
  runs.erase(std::remove_if(runs.begin(), runs.end(), [](const Run& run) { return run.length < 2; }), runs.end());
  std::stable_sort(runs.begin(), runs.end(), [](const Run& a, const Run& b) { return a.length > b.length; });
  if (runs.empty()) {
    return "  longest runs: none\n";
  }
  std::string text = "  longest runs:";
  std::string_view separator = " ";
  for (size_t i = 0; i < std::min(runs.size(), shown_runs); ++i) {
    const Run& run = runs[i];
    text += fmt::format("{}{} x {} ({} position {})", separator, name(run.token), run.length, sample_name(run.sample),
                        run.position);
    separator = ", ";
  }
  return text + "\n";
}

std::string StepViews::token_distribution(const std::vector<std::vector<int64_t>>& texts) const {
  std::vector<int64_t> all;
  for (const std::vector<int64_t>& tokens : texts) {
    all.insert(all.end(), tokens.begin(), tokens.end());
  }
  std::string text = "  most common:";
  std::string_view separator = " ";
  for (const auto& [token, count] : most_common(all, shown_tokens)) {
    text += fmt::format("{}{} {} ({:.1f}%)", separator, name(token), count,
                        100 * static_cast<double>(count) / static_cast<double>(all.size()));
    separator = ", ";
  }
  return text + "\n";
}

// Tokens [T] on one line: masks as the mask character, line ends as an arrow. A character may be spread over tokens.
std::string StepViews::line_of(const at::Tensor& tokens) const {
  std::string bytes;
  for (const int64_t token : values(tokens)) {
    if (token == options_.mask_token_id) {
      bytes += options_.mask_character;
    } else {
      bytes += vocabulary_.token(token);
    }
  }
  std::string line;
  for (const std::string_view point : characters_of(bytes)) {
    line += point == "\n" ? "⏎" : visible(point);
  }
  return line;
}

std::string StepViews::sample_name(int64_t row) const {
  return "sample " + samples_.at(static_cast<size_t>(row));
}

// In quotes what is text; bytes that are no character as escapes.
std::string StepViews::name(int64_t token) const {
  const std::string_view text = vocabulary_.token(token, options_.mask_token_id);
  const bool is_text = token != options_.mask_token_id && vocabulary_.has_text(token) && !vocabulary_.is_special(token);
  return is_text ? repr(text) : printable(text);
}

}  // namespace demask

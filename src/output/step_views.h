// The verbose view (what each iteration did to the first sample) and the debug view (what the distribution looked
// like).
#pragma once

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "sampling/sample.h"
#include "text/vocabulary.h"

namespace demask {

struct StepViewOptions {
  bool verbose =
      false;  // per step: first sample before, after prediction and after remasking, ratio, probability range
  bool debug =
      false;  // per step: shapes, mean top probability, normalised entropy, alternatives, runs, token distribution
  std::optional<int64_t> mask_token_id;
  char mask_character = '#';  // stands for a mask in the views
};

// Copies what it shows to the host in every step, which waits for the device: create one only where somebody looks.
// A write that fails is not reported, as for Progress.
class StepViews : public Observer {
 public:
  // `stream` and `vocabulary` must outlive this object.
  StepViews(std::FILE* stream, const Vocabulary& vocabulary, const StepViewOptions& options);
  void on_batch(const BatchView& batch) override;
  void on_step(const StepView& view) override;

 private:
  std::string verbose_iteration(const StepView& view) const;
  std::string verbose_token(const StepView& view) const;
  std::string debug_view(const StepView& view);
  std::string distribution(const StepView& view) const;
  std::string alternatives(const at::Tensor& probabilities, const at::Tensor& places) const;
  std::string longest_runs(const std::vector<std::vector<int64_t>>& texts) const;
  std::string token_distribution(const std::vector<std::vector<int64_t>>& texts) const;
  std::string line_of(const at::Tensor& tokens) const;
  std::string sample_name(int64_t row) const;  // of the batch: what the user knows it by
  std::string name(int64_t token) const;

  std::FILE* stream_;
  const Vocabulary& vocabulary_;
  StepViewOptions options_;
  std::vector<std::string> samples_;         // of the batch at work, by name
  std::vector<std::vector<int64_t>> drawn_;  // standard sampling: each sample's tokens so far, without its prompt
};

}  // namespace demask

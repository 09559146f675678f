// Progress on stderr: one line that redraws on a terminal, plain lines in a pipe.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sampling/sample.h"

namespace demask {

struct ProgressOptions {
  bool terminal = false;                     // redraw one line instead of printing lines
  bool diffusion = true;                     // "Iteration i/N: m/n tokens masked (x%)", else "Token i/N"
  bool scoring = false;                      // "Forward i/N" in place of either, and texts in place of samples
  std::optional<int64_t> total_samples = 0;  // none where nobody knows: nothing is said of what is left then
  std::function<std::chrono::steady_clock::time_point()> now = std::chrono::steady_clock::now;
};

// Rates and times are the host's: they run ahead of a device that is still working on what was queued.
// A write that fails is not reported.
class Progress : public Observer {
 public:
  // `stream` must outlive this object.
  Progress(std::FILE* stream, const ProgressOptions& options);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() override;  // leaves the terminal line ended
  void on_batch(const BatchView& batch) override;
  void on_step(const StepView& view) override;
  bool reads_tensors() const override { return false; }
  void on_batch_done() override;
  void on_other_batch_done(int64_t samples, int64_t tokens) override;

 private:
  using Clock = std::chrono::steady_clock;

  std::string state(
      const StepView& view) const;  // "Iteration 3/50: 892/2048 tokens masked (43.6%)", shorter on a terminal
  std::string outlook(const StepView& view) const;  // ", 1660 tokens/s, 0:12 left"
  std::string batch_range() const;  // "samples 5-8 of 10", empty where one batch is all; without an end "samples 5-8"
  bool is_due(const StepView& view);
  void redraw(std::string line);
  void end_line();

  std::FILE* stream_;
  ProgressOptions options_;
  int64_t finished_samples_ = 0;
  int64_t batch_ = 0;
  int64_t tokens_ = 0;  // of the batch at work
  int64_t finished_tokens_ = 0;
  bool started_ = false;
  bool line_open_ = false;  // the terminal's cursor is in our line
  Clock::time_point start_;
  Clock::time_point last_redraw_;
};

}  // namespace demask

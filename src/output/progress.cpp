#include "output/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cmath>

#include "output/readable.h"

namespace demask {
namespace {

constexpr std::chrono::milliseconds redraw_interval{50};

size_t terminal_width(std::FILE* stream) {
  winsize size{};
  const bool known = ::ioctl(::fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0;  // NOLINT(*-vararg)
  return known ? size.ws_col : 80;
}

// "0:07", "12:34", "1:02:03"
std::string duration(double seconds) {
  const auto total = static_cast<int64_t>(std::llround(seconds));
  const int64_t hours = total / 3600;
  const int64_t minutes = total / 60 % 60;
  return hours > 0 ? fmt::format("{}:{:02}:{:02}", hours, minutes, total % 60)
                   : fmt::format("{}:{:02}", minutes, total % 60);
}

}  // namespace

Progress::Progress(std::FILE* stream, const ProgressOptions& options) : stream_(stream), options_(options) {}

Progress::~Progress() {
  end_line();
}

void Progress::on_batch(const BatchView& batch) {
  batch_ = static_cast<int64_t>(batch.samples.size());
  tokens_ = batch.tokens;
  if (!started_) {
    started_ = true;
    start_ = options_.now();
  }
  if (!options_.terminal && !batch_range().empty()) {
    show(stream_, (options_.scoring ? "T" : "S") + batch_range().substr(1) + "\n");
  }
}

void Progress::on_step(const StepView& view) {
  if (!is_due(view)) {
    return;
  }
  if (options_.terminal) {
    const std::string range = batch_range();
    redraw(state(view) + outlook(view) + (range.empty() ? "" : ", " + range));
  } else {
    show(stream_, state(view) + "\n");
  }
}

void Progress::on_batch_done() {
  finished_samples_ += batch_;
  finished_tokens_ += tokens_;
  end_line();
}

void Progress::on_other_batch_done(int64_t samples, int64_t tokens) {
  finished_samples_ += samples;
  finished_tokens_ += tokens;
}

std::string Progress::state(const StepView& view) const {
  if (options_.scoring) {
    return fmt::format("Forward {}/{}", view.step + 1, view.steps);
  }
  if (!options_.diffusion) {
    return fmt::format("Token {}/{}", view.step + 1, view.steps);
  }
  const double percent = 100 * static_cast<double>(view.masked_before) / static_cast<double>(view.positions);
  const std::string iteration = "Iteration " + step_of_steps(view) + ": ";
  return iteration + (options_.terminal
                          ? fmt::format("{:.1f}% masked", percent)
                          : fmt::format("{}/{} tokens masked ({:.1f}%)", view.masked_before, view.positions, percent));
}

std::string Progress::outlook(const StepView& view) const {
  const double elapsed_s = std::chrono::duration<double>(options_.now() - start_).count();
  if (elapsed_s <= 0) {
    return "";
  }
  const double share = share_done(view, tokens_);  // of the batch at work
  const double done = static_cast<double>(finished_samples_) + static_cast<double>(batch_) * share;
  if (done <= 0) {
    return "";
  }
  const double tokens = static_cast<double>(finished_tokens_) + static_cast<double>(tokens_) * share;
  const std::string rate = fmt::format(", {:.0f} tokens/s", tokens / elapsed_s);
  if (!options_.total_samples) {
    return rate;
  }
  const double left = std::max(0.0, static_cast<double>(*options_.total_samples) - done);
  return rate + fmt::format(", {} left", duration(left * elapsed_s / done));
}

std::string Progress::batch_range() const {
  if (options_.total_samples && batch_ >= *options_.total_samples) {
    return "";
  }
  return fmt::format("{} {}-{}{}", options_.scoring ? "texts" : "samples", finished_samples_ + 1,
                     finished_samples_ + batch_,
                     options_.total_samples ? fmt::format(" of {}", *options_.total_samples) : "");
}

bool Progress::is_due(const StepView& view) {
  if (options_.terminal) {
    const Clock::time_point now = options_.now();
    const bool due = !line_open_ || view.step + 1 == view.steps || (view.steps == 0 && view.masked_after == 0) ||
                     now - last_redraw_ >= redraw_interval;
    last_redraw_ = due ? now : last_redraw_;
    return due;
  }
  // A line a token would be too many: one each tenth of the way.
  return (options_.diffusion && !options_.scoring) || (view.step + 1) * 10 / view.steps > view.step * 10 / view.steps;
}

void Progress::redraw(std::string line) {
  line.resize(std::min(line.size(), terminal_width(stream_) - 1));
  show(stream_, "\r" + line + "\x1b[K");
  line_open_ = true;
}

void Progress::end_line() {
  if (line_open_) {
    show(stream_, "\n");
    line_open_ = false;
  }
}

}  // namespace demask

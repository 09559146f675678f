// The live view: a sample of the batch at work, drawn on the terminal while its tokens come, go and stay.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "core/terminal.h"
#include "output/glyphs.h"
#include "output/keys.h"
#include "output/live_frame.h"
#include "output/shown_samples.h"
#include "sampling/sample.h"
#include "text/vocabulary.h"

namespace demask {

struct LiveOptions {
  bool diffusion = true;
  std::optional<int64_t> mask_token_id;
  Colours colours = Colours::none;
  std::function<int64_t()> forwards;  // so far; called from the sampler's thread. May be empty
};

// Between on_batch of the first batch and close the view has the terminal's screen, and a thread of its own draws on it
// and reads keys. Steps are slowed to a pace that can be followed, and wait while the view is paused. Output held back
// by hold_back (see held_output.h) is released when the view closes. It closes by itself when restore_terminal was
// called, by a signal's handler, or when the terminal is gone; from then on steps cost nothing.
//
// What it shows is copied to the host in every step, which waits for the device.
class LiveView : public Observer {
 public:
  // `vocabulary` must outlive the view.
  LiveView(const Terminal& terminal, const Vocabulary& vocabulary, const LiveOptions& options);
  LiveView(const LiveView&) = delete;
  LiveView& operator=(const LiveView&) = delete;
  ~LiveView() override;  // closes

  void on_batch(const BatchView& batch) override;
  void on_step(const StepView& view) override;
  void on_batch_done() override;
  bool reads_tensors() const override { return screen_state() != ScreenState::closed || !opened_; }
  // Waits until the last step was visible as long as any, and while the view is paused, then leaves the screen.
  void close();

 private:
  using Clock = std::chrono::steady_clock;
  using Lock = std::unique_lock<std::mutex>;

  // On the sampler's thread.
  void open();
  void wait_until_next_may_show(Lock& lock);
  void wake() const;

  // On the view's own thread.
  void run() noexcept;
  void watch();
  void wait_for_input();
  void take(const Key& key);
  void take_character(char character);
  void choose_sample(int64_t sample);
  void quit();
  void draw_if_changed();

  Terminal terminal_;
  GlyphTable glyphs_;
  LiveOptions options_;

  // The sampler's thread only.
  bool opened_ = false;
  ShownSamples samples_;  // of the batch at work
  int64_t batch_tokens_ = 0;
  int64_t finished_tokens_ = 0;
  double sampling_s_ = 0.0;  // time spent outside this view
  Clock::time_point left_at_;
  std::thread thread_;

  // The view's thread only.
  KeyReader reader_;
  ScreenSize size_;
  Viewport viewport_;
  std::vector<ShownToken> drawn_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  ShownSamples::Tokens shown_;  // of the batch whose step was last
  std::vector<int64_t> indices_;
  LiveStatus status_;
  bool dirty_ = true;
  int64_t steps_allowed_ = 0;  // while paused
  std::chrono::milliseconds pace_{0};
  Clock::time_point shown_since_;
  bool ending_ = false;  // close was called
  bool closed_ = false;  // the screen is left for good

  int wake_ = -1;  // an eventfd
};

// Where a live view can be: stderr is a terminal that moves the cursor. Nothing where it is not.
std::optional<Terminal> find_terminal();

}  // namespace demask

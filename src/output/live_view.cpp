#include "output/live_view.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>
#include <utility>

#include "core/held_output.h"
#include "core/signals_blocked.h"
#include "output/readable.h"

namespace demask {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds iteration_pace{50}, token_pace{10};
constexpr milliseconds slowest_pace{5000};
constexpr int look_interval_ms = 50;  // for the size of the terminal, and for what signals did

ScreenSize size_of(int terminal) {
  winsize size{};
  const bool known =
      ::ioctl(terminal, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;  // NOLINT(*-vararg)
  return known ? ScreenSize{size.ws_row, size.ws_col} : ScreenSize{};
}

}  // namespace

std::optional<Terminal> find_terminal() {
  const char* kind = std::getenv("TERM");
  if (::isatty(STDERR_FILENO) == 0 || kind == nullptr || *kind == '\0' || std::string_view(kind) == "dumb") {
    return std::nullopt;
  }
  if (::isatty(STDIN_FILENO) != 0) {
    return Terminal{STDERR_FILENO, STDIN_FILENO};
  }
  return Terminal{STDERR_FILENO, ::open("/dev/tty", O_RDONLY | O_CLOEXEC | O_NOCTTY)};  // NOLINT(*-vararg)
}

LiveView::LiveView(const Terminal& terminal, const Vocabulary& vocabulary, const LiveOptions& options)
    : terminal_(terminal),
      glyphs_(vocabulary, options.mask_token_id),
      options_(options),
      samples_(options.diffusion, options.mask_token_id) {
  status_.diffusion = options_.diffusion;
  viewport_.follows_end = !options_.diffusion;
  // In a grid a line end that breaks would move what stays in its place otherwise.
  viewport_.line_breaks = !options_.diffusion || glyphs_.cell_width() == 0;
  pace_ = options_.diffusion ? iteration_pace : token_pace;
}

LiveView::~LiveView() {
  {
    // What is closed only now was left by an exception: nobody waits for the last step.
    const std::lock_guard<std::mutex> lock(mutex_);
    status_.paused = false;
    pace_ = milliseconds(0);
  }
  close();
}

void LiveView::open() {
  opened_ = true;
  wake_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  hold_output();
  claim_terminal(terminal_);
  const SignalsBlocked blocked;  // inherited by the thread: see terminal.h
  thread_ = std::thread([this] { run(); });
}

void LiveView::close() {
  if (!thread_.joinable()) {
    return;
  }
  {
    Lock lock(mutex_);
    wait_until_next_may_show(lock);
    ending_ = true;
  }
  wake();
  thread_.join();
  ::close(std::exchange(wake_, -1));
}

void LiveView::on_batch(const BatchView& batch) {
  samples_.begin(batch.samples);
  batch_tokens_ = batch.tokens;
  if (!opened_) {
    // Those after the first leave the one before on the screen until they have a step to show.
    status_.samples = static_cast<int64_t>(batch.samples.size());
    status_.steps = batch.steps;
    open();
  }
  left_at_ = Clock::now();
}

void LiveView::on_batch_done() {
  finished_tokens_ += batch_tokens_;
  batch_tokens_ = 0;
}

void LiveView::on_step(const StepView& view) {
  // The view may have closed within a batch, whose steps still come with tensors.
  if (screen_state() == ScreenState::closed) {
    return;
  }
  samples_.take(view);
  sampling_s_ += std::chrono::duration<double>(Clock::now() - left_at_).count();
  const int64_t forwards = options_.forwards ? options_.forwards() : 0;
  const double drawn =
      static_cast<double>(finished_tokens_) + static_cast<double>(batch_tokens_) * share_done(view, batch_tokens_);
  {
    Lock lock(mutex_);
    wait_until_next_may_show(lock);
    shown_ = samples_.tokens();
    indices_ = samples_.indices();
    status_.samples = static_cast<int64_t>(indices_.size());
    status_.sample = std::min(status_.sample, status_.samples - 1);
    status_.step = view.step;
    status_.steps = view.steps;
    status_.forwards = forwards;
    status_.tokens_per_s = sampling_s_ > 0 ? drawn / sampling_s_ : 0.0;
    shown_since_ = Clock::now();
    dirty_ = true;
  }
  wake();
  left_at_ = Clock::now();
}

// What is shown stays visible as long as the pace says, which the work on the next step counts towards, and for as
// long as the view is paused and no step is asked for.
void LiveView::wait_until_next_may_show(Lock& lock) {
  while (!closed_) {
    if (status_.paused) {
      if (steps_allowed_ > 0) {
        --steps_allowed_;
        return;
      }
      changed_.wait(lock);
      continue;
    }
    if (shown_since_ + pace_ <= Clock::now()) {
      return;
    }
    changed_.wait_until(lock, shown_since_ + pace_);
  }
}

void LiveView::wake() const {
  constexpr uint64_t one = 1;
  static_cast<void>(!::write(wake_, &one, sizeof one));
}

void LiveView::run() noexcept {
  try {
    watch();
  } catch (const std::exception&) {  // losing sight of a run is no reason to end it
  }
  leave_screen();
  release_output();
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
}

void LiveView::watch() {
  while (screen_state() != ScreenState::closed) {
    if (resume_screen()) {
      const std::lock_guard<std::mutex> lock(mutex_);
      dirty_ = true;
    }
    if (const ScreenSize now = size_of(terminal_.screen); now.rows != size_.rows || now.columns != size_.columns) {
      size_ = now;
      const std::lock_guard<std::mutex> lock(mutex_);
      dirty_ = true;
    }
    draw_if_changed();
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (ending_) {
        return;
      }
    }
    wait_for_input();
  }
}

void LiveView::wait_for_input() {
  // In the background, keys belong to somebody else.
  const bool listens = screen_state() == ScreenState::open;
  std::array<pollfd, 2> sources{pollfd{wake_, POLLIN, 0}, pollfd{listens ? terminal_.keys : -1, POLLIN, 0}};
  if (::poll(sources.data(), sources.size(), look_interval_ms) <= 0) {
    return;
  }
  uint64_t wakes = 0;
  static_cast<void>(!::read(wake_, &wakes, sizeof wakes));
  if (sources[1].revents == 0) {
    return;
  }
  std::array<char, 256> bytes{};
  const ssize_t count = ::read(terminal_.keys, bytes.data(), bytes.size());
  if (count <= 0) {
    if ((sources[1].revents & (POLLHUP | POLLERR)) != 0) {
      terminal_.keys = -1;
    }
    return;
  }
  for (const Key& key : reader_.read({bytes.data(), static_cast<size_t>(count)})) {
    take(key);
  }
}

void LiveView::take(const Key& key) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const int64_t page = std::max(text_rows(size_) - 1, 1);
    const auto scroll = [this](int64_t rows) {
      viewport_.top += rows;
      if (viewport_.last_top > 0) {
        viewport_.follows_end = rows > 0 && viewport_.top >= viewport_.last_top;
      }
    };
    constexpr int64_t all = 1 << 30;
    dirty_ = true;
    switch (key.name) {
      case Key::Name::up:
        scroll(-1);
        break;
      case Key::Name::down:
        scroll(1);
        break;
      case Key::Name::page_up:
        scroll(-page);
        break;
      case Key::Name::page_down:
        scroll(page);
        break;
      case Key::Name::home:
        scroll(-all);
        break;
      case Key::Name::end:
        scroll(all);
        break;
      case Key::Name::right:
        choose_sample(status_.sample + 1);
        break;
      case Key::Name::left:
        choose_sample(status_.sample - 1);
        break;
      case Key::Name::character:
        take_character(key.character);
        break;
      case Key::Name::other:
        break;
    }
  }
  changed_.notify_all();
  if (key.name == Key::Name::character && key.character == 'q') {
    quit();
  }
}

void LiveView::take_character(char character) {
  switch (character) {
    case '\t':
    case 'n':
      choose_sample(status_.sample + 1);
      break;
    case 'p':
      choose_sample(status_.sample - 1);
      break;
    case ' ':
      status_.paused = !status_.paused;
      steps_allowed_ = 0;
      break;
    case '.':
      steps_allowed_ = status_.paused ? 1 : 0;
      break;
    case '+':
    case '=':  // the same key without Shift
      pace_ /= 2;
      break;
    case '-':
      pace_ = std::min(std::max(pace_ * 2, milliseconds(1)), slowest_pace);
      break;
    case 'l':
      viewport_.line_breaks = !viewport_.line_breaks;
      break;
    default:
      if (character >= '1' && character <= '9' && character - '1' < status_.samples) {
        choose_sample(character - '1');
      }
  }
}

void LiveView::choose_sample(int64_t sample) {
  status_.sample = (sample + status_.samples) % status_.samples;
}

// As Ctrl-C. Where the caller had SIGINT ignored, the run goes on unseen.
void LiveView::quit() {
  ::kill(::getpid(), SIGINT);
  restore_terminal();
}

void LiveView::draw_if_changed() {
  if (screen_state() != ScreenState::open) {
    return;
  }
  LiveStatus status;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!dirty_) {
      return;
    }
    dirty_ = false;
    status = status_;
    status.pace_ms = pace_.count();
    const auto sample = static_cast<size_t>(status.sample);
    if (sample < shown_.size()) {
      drawn_ = shown_[sample];
      status.index = indices_[sample];
    }
  }
  const auto masked = std::count_if(drawn_.begin(), drawn_.end(), [](const ShownToken& token) {
    return token.state == TokenState::masked || token.state == TokenState::leaving;
  });
  status.masked_share = drawn_.empty() ? 0.0 : static_cast<double>(masked) / static_cast<double>(drawn_.size());
  const std::string frame = draw_frame(status, drawn_, glyphs_, options_.colours, size_, viewport_);
  if (!write_to_screen(frame) && screen_state() == ScreenState::open) {
    restore_terminal();  // the terminal is gone
  }
}

}  // namespace demask

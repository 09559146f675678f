#include "output/live_view.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>

#include "core/held_output.h"
#include "tests/support/catch.h"
#include "tests/unit/output/batches.h"
#include "tests/unit/output/virtual_screen.h"
#include "text/character_vocabulary.h"

namespace demask {
namespace {

using testing::VirtualScreen;

constexpr int64_t mask = 2;
const std::string enter = "\x1b[?1049h", leave = "\x1b[?1049l";

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// The user's side of a terminal.
class PseudoTerminal {
 public:
  PseudoTerminal() {
    winsize size{};
    size.ws_row = 10;
    size.ws_col = 100;
    if (::openpty(&user_, &program_, nullptr, nullptr, &size) != 0) {
      throw std::runtime_error("no pseudo terminal");
    }
    ::fcntl(user_, F_SETFL, O_NONBLOCK);
  }
  PseudoTerminal(const PseudoTerminal&) = delete;
  PseudoTerminal& operator=(const PseudoTerminal&) = delete;
  ~PseudoTerminal() {
    ::close(user_);
    ::close(program_);
  }

  Terminal terminal() const { return {program_, program_}; }
  void type(const std::string& keys) const { REQUIRE(::write(user_, keys.data(), keys.size()) > 0); }
  // All that was written so far.
  const std::string& seen() {
    std::array<char, 4096> bytes{};
    for (ssize_t count = 0; (count = ::read(user_, bytes.data(), bytes.size())) > 0;) {
      seen_.append(bytes.data(), static_cast<size_t>(count));
    }
    return seen_;
  }
  bool shows(const std::string& text) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!contains(frame(), text)) {
      if (std::chrono::steady_clock::now() > deadline) {
        return false;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return true;
  }
  // The last frame, which may be incomplete, or all there is before the first.
  std::string frame() {
    const std::string& all = seen();
    const size_t start = all.rfind("\x1b[1;1H");
    const size_t end = all.find("\x1b[0m\x1b[?7h", start == std::string::npos ? 0 : start);
    return start == std::string::npos ? all : all.substr(start, end - start);
  }
  VirtualScreen screen() {
    VirtualScreen screen(10, 100);
    screen.write(frame());
    return screen;
  }
  std::string modes() const {
    termios modes{};
    ::tcgetattr(program_, &modes);
    return std::string(reinterpret_cast<const char*>(modes.c_cc), sizeof modes.c_cc) + std::to_string(modes.c_lflag) +
           " " + std::to_string(modes.c_iflag);
  }

 private:
  int user_ = -1, program_ = -1;
  std::string seen_;
};

at::Tensor row(std::vector<int64_t> values) {
  return at::tensor(values, at::kLong).unsqueeze(0);
}

StepView step_of(int64_t step, const at::Tensor& before, const at::Tensor& after, float probability) {
  StepView view;
  view.step = step;
  view.steps = 3;
  view.before = before;
  view.after = after;
  view.probabilities = at::full(before.sizes(), probability);
  return view;
}

StepView token_of(int64_t step, int64_t token, const at::Tensor& before) {
  StepView view;
  view.step = step;
  view.steps = 3;
  view.before = before;
  view.filled = row({token});
  view.probabilities = at::full({1, 1}, 0.5F);
  return view;
}

LiveOptions options_of(bool diffusion) {
  LiveOptions options;
  options.diffusion = diffusion;
  options.mask_token_id = mask;
  options.colours = Colours::indexed;
  options.forwards = [] { return int64_t{7}; };
  return options;
}

const CharacterVocabulary vocabulary({"a", "b"});

TEST_CASE("the screen is taken at the first batch and left as it was at the end") {
  PseudoTerminal user;
  const std::string before = user.modes();
  {
    LiveView view(user.terminal(), vocabulary, options_of(true));
    CHECK(user.seen().empty());
    view.on_batch(demask::testing::batch_of({5}, 3, 2));
    REQUIRE(user.shows("starting"));
    CHECK(user.modes() != before);
    view.on_step(step_of(0, row({mask, mask}), row({0, mask}), 0.5F));
    REQUIRE(user.shows("Iteration 1/3"));
    CHECK(contains(user.frame(), "index 5"));
    CHECK(contains(user.frame(), "50.0% masked"));
    CHECK(contains(user.frame(), "7 forwards"));
    view.on_batch_done();
    view.close();
    CHECK_FALSE(view.reads_tensors());
  }
  CHECK(user.modes() == before);
  CHECK(contains(user.seen(), enter));
  CHECK(user.seen().find(leave) + leave.size() == user.seen().size());
}

TEST_CASE("a token keeps the colour of its probability until it is masked again, and a prompt has none") {
  PseudoTerminal user;
  LiveView view(user.terminal(), vocabulary, options_of(true));
  view.on_batch(demask::testing::batch_of({0}, 3, 2));
  view.on_step(step_of(0, row({1, mask, mask}), row({1, 0, 0}), 0.1F));
  REQUIRE(user.shows("Iteration 1/3"));
  view.on_step(step_of(1, row({1, 0, 0}), row({1, 0, mask}), 1.0F));
  REQUIRE(user.shows("Iteration 2/3"));
  REQUIRE(user.shows("scroll"));
  VirtualScreen screen = user.screen();
  CHECK(screen.row(1) == "baa");
  CHECK(screen.at(1, 0).style.empty());
  CHECK(screen.at(1, 1).style == "38;5;166");  // that of below 20%
  CHECK(contains(screen.at(1, 2).style, "9"));
  view.on_step(step_of(2, row({1, 0, mask}), row({1, 0, 0}), 1.0F));
  REQUIRE(user.shows("Iteration 3/3"));
  REQUIRE(user.shows("scroll"));
  screen = user.screen();
  CHECK(screen.at(1, 1).style == "38;5;166");
  CHECK(screen.at(1, 2).style == "1");
}

TEST_CASE("standard sampling shows the prompt, and of each text no more than belongs to it") {
  PseudoTerminal user;
  LiveView view(user.terminal(), vocabulary, options_of(false));
  view.on_batch({{{{9, 0, {}, 1337}, 2, 4}}, 3, 2});
  view.on_step(token_of(0, 0, row({1, 1})));
  view.on_step(token_of(1, 0, row({1, 1, 0})));
  view.on_step(token_of(2, 1, row({1, 1, 0, 0})));  // beyond its end, in a batch with a longer one
  REQUIRE(user.shows("Token 3/3"));
  REQUIRE(user.shows("scroll"));
  CHECK(contains(user.frame(), "index 9"));
  CHECK(user.screen().row(1) == "bbaa");
  CHECK(user.screen().at(1, 1).style.empty());
}

TEST_CASE("a paused view holds the sampler, lets single steps through and goes on") {
  PseudoTerminal user;
  LiveView view(user.terminal(), vocabulary, options_of(true));
  view.on_batch(demask::testing::batch_of({0}, 3, 2));
  user.type(" ");
  REQUIRE(user.shows("paused"));
  std::atomic<int> done{0};
  std::thread sampler([&] {
    for (int64_t step = 0; step < 3; ++step) {
      view.on_step(step_of(step, row({mask, mask}), row({0, mask}), 0.5F));
      ++done;
    }
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  CHECK(done == 0);
  user.type(".");
  CHECK(user.shows("Iteration 1/3"));
  user.type(".");
  CHECK(user.shows("Iteration 2/3"));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  CHECK(done == 2);
  user.type(" ");
  sampler.join();
  CHECK(user.shows("Iteration 3/3"));
}

TEST_CASE("a view left by an exception closes at once, even paused, and what was held back comes after it") {
  PseudoTerminal user;
  try {
    LiveView view(user.terminal(), vocabulary, options_of(true));
    view.on_batch(demask::testing::batch_of({0}, 3, 2));
    user.type(" ");
    REQUIRE(user.shows("paused"));
    CHECK(hold_back(user.terminal().screen, "held"));
    throw std::runtime_error("broken");
  } catch (const std::runtime_error&) {
  }
  CHECK_FALSE(hold_back(user.terminal().screen, "not held"));
  const std::string& seen = user.seen();
  CHECK(seen.substr(seen.find(leave)) == leave + "held");
}

std::atomic<int> interrupts{0};

TEST_CASE("q interrupts the process and closes the view, for good, even while it is paused") {
  PseudoTerminal user;
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {  // in a process of its own, which draws nothing from then on
    ::signal(SIGINT, [](int) {
      ++interrupts;
      restore_terminal();
    });
    LiveView view(user.terminal(), vocabulary, options_of(true));
    view.on_batch(demask::testing::batch_of({0}, 3, 2));
    for (int64_t step = 0; step < 100; ++step) {
      view.on_step(step_of(step, row({mask}), row({0}), 0.5F));  // returns when the view closes
    }
    view.close();
    ::_exit(interrupts == 1 && !view.reads_tensors() ? 0 : 1);
  }
  CHECK(user.shows("Iteration 2/3"));
  user.type(" q");
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  const std::string& seen = user.seen();
  CHECK(seen.find(leave) + leave.size() == seen.size());
}

}  // namespace
}  // namespace demask

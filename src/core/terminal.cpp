#include "core/terminal.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace demask {
namespace {

// One word says who may touch the terminal: those in the second group are busy with it, and nobody else may.
enum class Stage : int {
  unclaimed,
  away,     // claimed, not taken over
  open,     // between two frames
  stopped,  // left by a handler that is about to stop the process
  closed,   // for good

  entering,
  drawing,
  leaving,
};

std::atomic<Stage> stage{Stage::unclaimed};
static_assert(std::atomic<Stage>::is_always_lock_free);
Terminal terminal;
termios former{};  // of the keys, written before the screen opens

// Lines are not wrapped: a character wider than we believe must not scroll the screen.
constexpr std::string_view enter_sequence = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J\x1b[H";
constexpr std::string_view leave_sequence = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";

// A terminal may hang, and the view's thread with it: whoever waited so long goes ahead.
constexpr int longest_wait_ms = 500;

bool write_all(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(terminal.screen, bytes.data(), bytes.size());
    if (written >= 0) {
      bytes.remove_prefix(static_cast<size_t>(written));
    } else if (errno == EAGAIN) {
      pollfd room{terminal.screen, POLLOUT, 0};
      ::poll(&room, 1, longest_wait_ms);
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

// A process in the background would be stopped for changing the terminal; what it leaves must be left clean anyway.
class TerminalStopsBlocked {
 public:
  TerminalStopsBlocked() {
    sigset_t stops;
    ::sigemptyset(&stops);
    ::sigaddset(&stops, SIGTTOU);
    ::pthread_sigmask(SIG_BLOCK, &stops, &former_);
  }
  TerminalStopsBlocked(const TerminalStopsBlocked&) = delete;
  TerminalStopsBlocked& operator=(const TerminalStopsBlocked&) = delete;
  ~TerminalStopsBlocked() { ::pthread_sigmask(SIG_SETMASK, &former_, nullptr); }

 private:
  sigset_t former_{};
};

void leave() {
  const TerminalStopsBlocked blocked;
  write_all(leave_sequence);
  if (terminal.keys >= 0) {
    ::tcsetattr(terminal.keys, TCSANOW, &former);
  }
}

bool pass(Stage from, Stage to) {
  return stage.compare_exchange_strong(from, to);
}

// Ends in `target`, with the screen left.
void leave_for(Stage target) {
  const int error = errno;
  for (int waited_ms = 0; waited_ms < longest_wait_ms;) {
    const Stage now = stage;
    if (now == Stage::closed || now == target) {
      break;
    }
    if (now == Stage::open) {
      if (pass(now, Stage::leaving)) {
        leave();
        stage = target;
        break;
      }
    } else if (now == Stage::unclaimed && target == Stage::stopped) {
      break;
    } else if (now == Stage::unclaimed || now == Stage::away || now == Stage::stopped) {
      if (pass(now, target)) {
        break;
      }
    } else {
      ::poll(nullptr, 0, 1);
      ++waited_ms;
      if (waited_ms == longest_wait_ms) {
        leave();
        stage = target;
      }
    }
  }
  errno = error;
}

bool in_foreground() {
  const int controlling = terminal.keys >= 0 ? terminal.keys : terminal.screen;
  const pid_t group = ::tcgetpgrp(controlling);
  return group < 0 || group == ::getpgrp();  // below 0: no terminal that knows of jobs
}

}  // namespace

void claim_terminal(const Terminal& claimed) noexcept {
  if (stage == Stage::unclaimed) {
    terminal = claimed;
    pass(Stage::unclaimed, Stage::away);
  }
}

ScreenState screen_state() noexcept {
  switch (stage.load()) {
    case Stage::away:
    case Stage::stopped:
      return ScreenState::away;
    case Stage::open:
    case Stage::entering:
    case Stage::drawing:
    case Stage::leaving:  // its end says whether for good
      return ScreenState::open;
    case Stage::unclaimed:
    case Stage::closed:
      break;
  }
  return ScreenState::closed;
}

bool resume_screen() noexcept {
  if (!in_foreground() || !pass(Stage::away, Stage::entering)) {
    return false;
  }
  const TerminalStopsBlocked blocked;
  if (terminal.keys >= 0) {
    if (::tcgetattr(terminal.keys, &former) != 0) {
      terminal.keys = -1;
    } else {
      termios raw = former;
      raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | IEXTEN);
      raw.c_iflag &= ~static_cast<tcflag_t>(IXON | ICRNL);
      raw.c_cc[VMIN] = 0;
      raw.c_cc[VTIME] = 0;
      ::tcsetattr(terminal.keys, TCSANOW, &raw);
    }
  }
  write_all(enter_sequence);
  return pass(Stage::entering, Stage::open);
}

bool write_to_screen(std::string_view bytes) noexcept {
  if (!pass(Stage::open, Stage::drawing)) {
    return false;
  }
  const bool written = write_all(bytes);
  return pass(Stage::drawing, Stage::open) && written;
}

void leave_screen() noexcept {
  leave_for(Stage::unclaimed);
}

void restore_terminal() noexcept {
  leave_for(Stage::closed);
}

void suspend_screen() noexcept {
  leave_for(Stage::stopped);
}

void allow_resuming() noexcept {
  pass(Stage::stopped, Stage::away);
}

}  // namespace demask

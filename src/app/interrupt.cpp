#include "app/interrupt.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

#include "core/error.h"
#include "core/pipe_signal.h"
#include "core/temporary_files.h"
#include "core/terminal.h"
#include "core/write_all.h"

namespace demask {
namespace {

std::atomic<bool> batches_finish{false};
std::atomic<int> requested{0};
std::atomic<int64_t> requested_at_ms{0};  // set before `requested`
std::atomic<int> stop_event{-1};
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<int64_t>::is_always_lock_free);

constexpr int64_t patience_ms = 3000;  // for the batch in flight

int64_t now_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1000000;
}

void stop_then_exit(int signal_number) {
  int none = 0;
  if (batches_finish && requested == 0) {
    requested_at_ms = now_ms();
  }
  if (batches_finish && requested.compare_exchange_strong(none, signal_number)) {
    restore_terminal();
    const uint64_t one = 1;
    const int error = errno;
    static_cast<void>(!::write(stop_event, &one, sizeof one));
    errno = error;
    constexpr char words[] =
        "\ndemask: stopping after the batch in flight, or giving it up in 3 seconds; once more to stop at once.\n";
    const PipeSignalBlocked blocked;
    static_cast<void>(write_all(STDERR_FILENO, {words, sizeof words - 1}));
    return;
  }
  restore_terminal();
  remove_temporaries();
  ::_exit(static_cast<int>(signal_number == SIGTERM ? ExitCode::terminated : ExitCode::interrupted));
}

// The signal is blocked in its own handler: raised again, it takes its default action when this returns.
void end_by_signal(int signal_number) {
  restore_terminal();
  remove_temporaries();
  static_cast<void>(::signal(signal_number, SIG_DFL));
  static_cast<void>(::raise(signal_number));
}

bool is_ignored(int signal_number) {
  struct sigaction current {};
  return ::sigaction(signal_number, nullptr, &current) == 0 && current.sa_handler == SIG_IGN;
}

void handle(int signal_number, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  // None interrupts another, which may be about to leave the terminal.
  ::sigemptyset(&action.sa_mask);
  for (const int handled : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP}) {
    ::sigaddset(&action.sa_mask, handled);
  }
  ::sigaction(signal_number, &action, nullptr);
}

// Stops the process as it would without a handler, and goes on when it is continued.
void stop_until_continued(int signal_number) {
  suspend_screen();
  sigset_t own;
  ::sigemptyset(&own);
  ::sigaddset(&own, signal_number);
  static_cast<void>(::signal(signal_number, SIG_DFL));
  static_cast<void>(::raise(signal_number));
  ::pthread_sigmask(SIG_UNBLOCK, &own, nullptr);  // here it stops
  ::pthread_sigmask(SIG_BLOCK, &own, nullptr);
  handle(signal_number, stop_until_continued);
  allow_resuming();
}

}  // namespace

void install_signal_handlers() {
  if (stop_event < 0) {
    stop_event = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  }
  for (const int signal_number : {SIGINT, SIGTERM}) {
    if (!is_ignored(signal_number)) {
      handle(signal_number, stop_then_exit);
    }
  }
  for (const int signal_number : {SIGHUP, SIGQUIT}) {
    if (!is_ignored(signal_number)) {
      handle(signal_number, end_by_signal);
    }
  }
  if (!is_ignored(SIGTSTP)) {
    handle(SIGTSTP, stop_until_continued);
  }
  handle(SIGPIPE, end_by_signal);
}

void let_batches_finish() noexcept {
  batches_finish = true;
}

int stop_signal() noexcept {
  return requested;
}

int stop_descriptor() noexcept {
  return stop_event;
}

bool stop_is_overdue() noexcept {
  return requested != 0 && now_ms() - requested_at_ms >= patience_ms;
}

}  // namespace demask

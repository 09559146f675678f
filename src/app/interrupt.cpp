#include "app/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>

#include "core/error.h"
#include "core/temporary_files.h"
#include "core/terminal.h"

namespace demask {
namespace {

std::atomic<int> requested{0};
static_assert(std::atomic<int>::is_always_lock_free);

void stop_then_exit(int signal_number) {
  int none = 0;
  if (requested.compare_exchange_strong(none, signal_number)) {
    restore_terminal();
    constexpr char words[] = "\ndemask: stopping after the batch in flight; once more to stop at once.\n";
    static_cast<void>(!::write(STDERR_FILENO, words, sizeof words - 1));
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

int stop_signal() noexcept {
  return requested;
}

}  // namespace demask

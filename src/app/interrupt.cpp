#include "demask/app/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>

#include "demask/core/error.h"
#include "demask/core/temporary_files.h"

namespace demask {
namespace {

std::atomic<int> requested{0};
static_assert(std::atomic<int>::is_always_lock_free);

void stop_then_exit(int signal_number) {
  int none = 0;
  if (requested.compare_exchange_strong(none, signal_number)) {
    constexpr char words[] = "\ndemask: stopping after the batch in flight; once more to stop at once.\n";
    static_cast<void>(!::write(STDERR_FILENO, words, sizeof words - 1));
    return;
  }
  remove_temporaries();
  ::_exit(static_cast<int>(signal_number == SIGTERM ? ExitCode::terminated : ExitCode::interrupted));
}

// The signal is blocked in its own handler: raised again, it takes its default action when this returns.
void end_by_signal(int signal_number) {
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
  ::sigemptyset(&action.sa_mask);
  ::sigaction(signal_number, &action, nullptr);
}

}  // namespace

void install_signal_handlers() {
  for (const int signal_number : {SIGINT, SIGTERM}) {
    if (!is_ignored(signal_number)) {
      handle(signal_number, stop_then_exit);
    }
  }
  if (!is_ignored(SIGHUP)) {
    handle(SIGHUP, end_by_signal);
  }
  handle(SIGPIPE, end_by_signal);
}

int stop_signal() noexcept {
  return requested;
}

}  // namespace demask

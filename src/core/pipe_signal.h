// Writing to a pipe whose reader may have gone.
#pragma once

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include <cerrno>

namespace demask {

// While this lives, writing to a pipe without a reader is an error (EPIPE) in this thread and ends nothing: the signal
// that comes with it is taken and dropped. One that was pending before stays. Keeps errno; for signal handlers too.
class PipeSignalBlocked {
 public:
  PipeSignalBlocked() noexcept {
    const int error = errno;
    sigset_t pending;
    ::sigemptyset(&pipe_);
    ::sigaddset(&pipe_, SIGPIPE);
    ::sigpending(&pending);
    was_pending_ = ::sigismember(&pending, SIGPIPE) == 1;
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &former_);
    errno = error;
  }
  PipeSignalBlocked(const PipeSignalBlocked&) = delete;
  PipeSignalBlocked& operator=(const PipeSignalBlocked&) = delete;
  ~PipeSignalBlocked() {
    const int error = errno;
    if (!was_pending_) {
      const timespec at_once{0, 0};
      while (::sigtimedwait(&pipe_, nullptr, &at_once) < 0 && errno == EINTR) {
      }
    }
    ::pthread_sigmask(SIG_SETMASK, &former_, nullptr);
    errno = error;
  }

 private:
  sigset_t pipe_{}, former_{};
  bool was_pending_ = false;
};

}  // namespace demask

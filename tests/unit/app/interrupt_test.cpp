#include "app/interrupt.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "core/temporary_files.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"

namespace demask {
namespace {

// The wait status of a child process that runs `body` with the handlers installed and a temporary file registered.
template <typename Body>
int status_of_run(const std::string& temporary, void (*sigint_before)(int), Body body) {
  testing::write_file(temporary, "half a text");
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::signal(SIGINT, sigint_before);
    install_signal_handlers();
    register_temporary(temporary);
    body();
    ::_exit(stop_signal());
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return status;
}

bool exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

TEST_CASE("before there is a batch, the first interrupt ends the process and removes unfinished files") {
  const testing::TemporaryFolder folder;
  for (const auto& [signal_number, code] : {std::pair(SIGINT, 130), std::pair(SIGTERM, 143)}) {
    const int status = status_of_run(folder / "t", SIG_DFL, [sent = signal_number] { ::raise(sent); });
    CHECK((WIFEXITED(status) && WEXITSTATUS(status) == code));
    CHECK_FALSE(exists(folder / "t"));
  }
}

TEST_CASE("the first interrupt lets the batch go on and tells the run to stop") {
  const testing::TemporaryFolder folder;
  for (const int signal_number : {SIGINT, SIGTERM}) {
    const int status = status_of_run(folder / "t", SIG_DFL, [=] {
      let_batches_finish();
      ::raise(signal_number);
    });
    CHECK((WIFEXITED(status) && WEXITSTATUS(status) == signal_number));
    CHECK(exists(folder / "t"));
  }
}

TEST_CASE("the second interrupt ends the process with its own code, 130 or 143, and removes unfinished files") {
  const testing::TemporaryFolder folder;
  for (const auto& [second, code] : {std::pair(SIGINT, 130), std::pair(SIGTERM, 143)}) {
    const int status = status_of_run(folder / "t", SIG_DFL, [second = second] {
      let_batches_finish();
      ::raise(SIGINT);
      ::raise(second);
    });
    CHECK((WIFEXITED(status) && WEXITSTATUS(status) == code));
    CHECK_FALSE(exists(folder / "t"));
  }
}

TEST_CASE("a closed pipe or terminal or SIGQUIT ends the process by its signal and removes unfinished files") {
  const testing::TemporaryFolder folder;
  for (const int signal_number : {SIGPIPE, SIGHUP, SIGQUIT}) {
    const int status = status_of_run(folder / "t", SIG_DFL, [=] { ::raise(signal_number); });
    CHECK((WIFSIGNALED(status) && WTERMSIG(status) == signal_number));
    CHECK_FALSE(exists(folder / "t"));
  }
}

TEST_CASE("an interrupt that the caller ignores stays ignored") {
  const testing::TemporaryFolder folder;
  const int status = status_of_run(folder / "t", SIG_IGN, [] { ::raise(SIGINT); });
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
}

}  // namespace
}  // namespace demask

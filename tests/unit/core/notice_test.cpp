#include "core/notice.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>

#include "core/held_output.h"
#include "core/pipe_signal.h"
#include "core/write_all.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"

namespace demask {
namespace {

// stderr goes to `descriptor` while this lives.
class StderrTo {
 public:
  explicit StderrTo(int descriptor) : former_(::dup(STDERR_FILENO)) { ::dup2(descriptor, STDERR_FILENO); }
  StderrTo(const StderrTo&) = delete;
  StderrTo& operator=(const StderrTo&) = delete;
  ~StderrTo() {
    ::dup2(former_, STDERR_FILENO);
    ::close(former_);
  }

 private:
  int former_;
};

// What `action` writes to stderr.
template <typename Action>
std::string stderr_of(const Action& action) {
  const testing::TemporaryFolder folder;
  const int file = ::open((folder / "stderr").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  {
    const StderrTo redirected(file);
    action();
  }
  ::close(file);
  return testing::read_file(folder / "stderr");
}

TEST_CASE("A notice is a line of its own, with what does not show as escapes") {
  CHECK(stderr_of([] { notice("seed={}", 7); }) == "Notice: seed=7\n");
  CHECK(stderr_of([] { notice(std::string("{braces} and a NUL\0.", 20)); }) == "Notice: {braces} and a NUL\\x00.\n");
  CHECK(stderr_of([] { diagnostic("a\n\x1b[31mb\n"); }) == "a\n\\x1b[31mb\n");
}

TEST_CASE("What is said while a view has the terminal comes after it, in order") {
  CHECK(stderr_of([] {
          hold_output();
          notice("first");
          diagnostic("second\n");
          CHECK(::lseek(STDERR_FILENO, 0, SEEK_CUR) == 0);
          release_output();
        }) == "Notice: first\nsecond\n");
}

TEST_CASE("A stderr that takes nothing ends nothing") {
  for (const char* path : {"/dev/full", "/dev/null"}) {
    const int file = ::open(path, (path == std::string("/dev/null") ? O_RDONLY : O_WRONLY) | O_CLOEXEC);
    const StderrTo redirected(file);
    CHECK_NOTHROW(notice("lost"));
    ::close(file);
  }
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  ::close(ends[0]);
  const StderrTo redirected(ends[1]);
  CHECK_NOTHROW(notice("lost"));  // the signal of a broken pipe would end this test
  ::close(ends[1]);
}

TEST_CASE("A pipe without a reader is an error while its signal is blocked, and leaves none behind") {
  std::array<int, 2> ends{};
  REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
  ::close(ends[0]);
  {
    const PipeSignalBlocked blocked;
    CHECK_FALSE(write_all(ends[1], "x"));
    CHECK(errno == EPIPE);
  }
  sigset_t pending;
  ::sigpending(&pending);
  CHECK(::sigismember(&pending, SIGPIPE) == 0);
  ::close(ends[1]);
}

}  // namespace
}  // namespace demask

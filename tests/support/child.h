// Another process, forked from the test's, and memory that both have.
#pragma once

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <functional>
#include <utility>

namespace demask::testing {

// Another process that does `work`, then waits to be killed.
class Child {
 public:
  explicit Child(const std::function<void()>& work) : process_(::fork()) {
    if (process_ != 0) {
      return;
    }
    int status = 0;
    try {
      work();
    } catch (...) {
      status = 1;
    }
    ::_exit(status);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (process_ > 0) {
      kill();
    }
  }

  // What wait() gives, after a SIGKILL if it has not ended by itself.
  int kill() {
    ::kill(process_, SIGKILL);
    int status = 0;
    ::waitpid(std::exchange(process_, -1), &status, 0);
    return status;
  }

 private:
  pid_t process_;
};

// Memory that forked children share.
template <typename Value>
class Shared {
 public:
  explicit Shared(size_t count)
      : bytes_(count * sizeof(Value)),
        values_(
            static_cast<Value*>(::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  ~Shared() { ::munmap(values_, bytes_); }
  Value& operator[](size_t i) const { return values_[i]; }

 private:
  size_t bytes_;
  Value* values_;
};

}  // namespace demask::testing

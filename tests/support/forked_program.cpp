// The program in processes that are forked instead of started. Most of a short run is the loading of LibTorch, which
// these tests have loaded themselves: a process that has done nothing else forks once for each run. What it forks
// becomes a child of the tests, so that they wait for it as for one that they started.
#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <mutex>
#include <string>
#include <vector>

#include "app/failure.h"
#include "app/front.h"
#include "core/standard_streams.h"
#include "core/write_all.h"
#include "tests/support/process.h"

namespace demask::testing {
namespace {

constexpr size_t streams = 3;

struct Request {
  std::array<int, streams> descriptors{-1, -1, -1};
  std::string directory;
  std::vector<std::string> arguments, environment;
};

// Texts that hold no NUL, one after another, and before them the length of all.
std::string message_of(const Request& request) {
  std::string text = request.directory + '\0' + std::to_string(request.arguments.size()) + '\0';
  for (const auto* texts : {&request.arguments, &request.environment}) {
    for (const std::string& each : *texts) {
      text += each + '\0';
    }
  }
  return text;
}

Request request_of(const std::string& message) {
  std::vector<std::string> texts;
  for (size_t at = 0; at < message.size(); at += texts.back().size() + 1) {
    texts.emplace_back(message.c_str() + at);
  }
  Request request;
  request.directory = texts.at(0);
  const auto first = texts.begin() + 2, end = first + std::stol(texts.at(1));
  request.arguments.assign(first, end);
  request.environment.assign(end, texts.end());
  return request;
}

bool read_all(int socket, void* into, size_t bytes) {
  for (char* at = static_cast<char*>(into); bytes > 0;) {
    const ssize_t count = ::read(socket, at, bytes);
    if (count <= 0) {
      return false;
    }
    at += count;
    bytes -= static_cast<size_t>(count);
  }
  return true;
}

// The length of a message, and the descriptors with it.
struct Envelope {
  uint64_t length = 0;
  iovec part{&length, sizeof length};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(streams * sizeof(int))> control{};
  msghdr header{};

  Envelope() {
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
  }
};

bool send(int socket, const Request& request) {
  const std::string message = message_of(request);
  Envelope envelope;
  envelope.length = message.size();
  cmsghdr* const with = CMSG_FIRSTHDR(&envelope.header);
  with->cmsg_level = SOL_SOCKET;
  with->cmsg_type = SCM_RIGHTS;
  with->cmsg_len = CMSG_LEN(streams * sizeof(int));
  std::memcpy(CMSG_DATA(with), request.descriptors.data(), streams * sizeof(int));
  return ::sendmsg(socket, &envelope.header, MSG_NOSIGNAL) == sizeof envelope.length && write_all(socket, message);
}

bool receive(int socket, Request& request) {
  Envelope envelope;
  if (::recvmsg(socket, &envelope.header, 0) != sizeof envelope.length) {
    return false;
  }
  std::string message(static_cast<size_t>(envelope.length), '\0');
  if (!read_all(socket, message.data(), message.size())) {
    return false;
  }
  request = request_of(message);
  std::memcpy(request.descriptors.data(), CMSG_DATA(CMSG_FIRSTHDR(&envelope.header)), streams * sizeof(int));
  return true;
}

void close_all(const Request& request) {
  for (const int descriptor : request.descriptors) {
    ::close(descriptor);
  }
}

// As the program's main does.
int run_program(const std::vector<std::string>& arguments) {
  settle_standard_streams();
  return exit_code_of([&] { return answer(arguments); });
}

[[noreturn]] void become_program(int socket, pid_t tests, Request& request) {
  ::setpgid(0, 0);
  while (::getppid() != tests) {
    ::sched_yield();  // the process between has not ended yet
  }
  const pid_t self = ::getpid();
  bool ready = write_all(socket, {reinterpret_cast<const char*>(&self), sizeof self});
  ::close(socket);
  for (size_t stream = 0; stream < streams; ++stream) {
    ready = ready && ::dup2(request.descriptors[stream], static_cast<int>(stream)) >= 0;
  }
  close_all(request);
  if (!ready || (!request.directory.empty() && ::chdir(request.directory.c_str()) != 0)) {
    ::_exit(127);
  }
  std::vector<char*> variables;
  for (std::string& variable : request.environment) {
    variables.push_back(variable.data());
  }
  variables.push_back(nullptr);
  environ = variables.data();
  const int exit_code = run_program({request.arguments.begin() + 1, request.arguments.end()});
  std::fflush(nullptr);
  std::_Exit(exit_code);
}

// Forks for each request until the tests end.
[[noreturn]] void serve(int socket, pid_t tests) {
  for (int number = 1; number < NSIG; ++number) {  // the test framework's handlers
    static_cast<void>(std::signal(number, SIG_DFL));
  }
  Request request;
  while (receive(socket, request)) {
    const pid_t between = ::fork();
    if (between == 0) {
      if (::fork() == 0) {
        become_program(socket, tests, request);
      }
      ::_exit(0);
    }
    close_all(request);
    ::waitpid(between, nullptr, 0);
  }
  ::_exit(0);
}

bool is_one_thread() {
  const std::filesystem::directory_iterator threads("/proc/self/task");
  return std::distance(begin(threads), end(threads)) == 1;
}

// The socket of the process that forks, or -1 where there is none: it must be made while no other thread runs.
int server() {
  static int own = -1;
  std::array<int, 2> ends{};
  if (own >= 0 || !is_one_thread() || ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return own;
  }
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // so that the children of what ends between are this process's
  std::cout.flush();
  std::fflush(nullptr);
  const pid_t tests = ::getpid();
  if (::fork() == 0) {
    ::close(ends[0]);
    serve(ends[1], tests);
  }
  ::close(ends[1]);
  return own = ends[0];
}

pid_t fork_program(const std::vector<std::string>& arguments, const std::vector<std::string>& environment,
                   const ProcessOptions& options, const std::array<int, streams>& descriptors) {
  static std::mutex mutex;
  const std::lock_guard<std::mutex> lock(mutex);
  const char* const asked = std::getenv("DEMASK_TEST_PROGRAM");
  if (arguments[0] != DEMASK_BINARY || options.address_space_bytes > 0 ||
      (asked != nullptr && asked == std::string("started"))) {
    return -1;
  }
  const int socket = server();
  pid_t program = -1;
  if (socket < 0 || !send(socket, {descriptors, options.directory, arguments, environment}) ||
      !read_all(socket, &program, sizeof program)) {
    return -1;
  }
  return program;
}

const bool registered = [] {
  program_forker() = fork_program;
  return true;
}();

}  // namespace
}  // namespace demask::testing

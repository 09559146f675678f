#include "tests/support/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <system_error>

namespace demask::testing {
namespace {

using Clock = std::chrono::steady_clock;

void check(bool succeeded, const char* what) {
  if (!succeeded) {
    throw std::system_error(errno, std::generic_category(), what);
  }
}

// The reading end of a pipe whose writing end goes to the child.
struct Pipe {
  int reader = -1;
  int writer = -1;

  Pipe() {
    std::array<int, 2> ends{};
    check(::pipe2(ends.data(), O_CLOEXEC) == 0, "pipe2");
    reader = ends[0];
    writer = ends[1];
    check(::fcntl(reader, F_SETFL, O_NONBLOCK) == 0, "fcntl");
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    close(reader);
    close(writer);
  }
  static void close(int& descriptor) {
    if (descriptor >= 0) {
      ::close(descriptor);
      descriptor = -1;
    }
  }

  // Adds all there is to read now; closes at the end of the stream.
  void drain(std::string& text) {
    std::array<char, 65536> buffer{};
    while (reader >= 0) {
      const ssize_t count = ::read(reader, buffer.data(), buffer.size());
      if (count > 0) {
        text.append(buffer.data(), static_cast<size_t>(count));
      } else if (count == 0) {
        close(reader);
      } else if (errno != EINTR) {
        return;
      }
    }
  }
};

std::vector<std::string> environment_with(const std::vector<std::pair<std::string, std::string>>& added) {
  std::map<std::string, std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string text = *variable;
    const size_t equals = std::min(text.find('='), text.size());
    variables[text.substr(0, equals)] = text.substr(equals);
  }
  for (const auto& [name, value] : added) {
    variables[name] = "=" + value;
  }
  std::vector<std::string> result;
  result.reserve(variables.size());
  for (const auto& [name, value] : variables) {
    result.push_back(name + value);
  }
  return result;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  result.reserve(strings.size() + 1);
  for (std::string& string : strings) {
    result.push_back(string.data());
  }
  result.push_back(nullptr);
  return result;
}

// Everything the child needs, made before fork: after it, only async-signal-safe calls are allowed.
struct Child {
  std::vector<char*> arguments;
  std::vector<char*> environment;
  const ProcessOptions* options;
  int input;
  int output;
  int error;
};

[[noreturn]] void run_child(const Child& child) {
  ::setpgid(0, 0);
  for (const int signal_number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) {
    static_cast<void>(::signal(signal_number, SIG_DFL));
  }
  bool ready = ::dup2(child.input, 0) >= 0 && ::dup2(child.output, 1) >= 0 && ::dup2(child.error, 2) >= 0;
  if (!child.options->directory.empty()) {
    ready = ready && ::chdir(child.options->directory.c_str()) == 0;
  }
  if (child.options->address_space_bytes > 0) {
    const rlimit limit{child.options->address_space_bytes, child.options->address_space_bytes};
    ready = ready && ::setrlimit(RLIMIT_AS, &limit) == 0;
  }
  if (ready) {
    ::execvpe(child.arguments[0], child.arguments.data(), child.environment.data());
  }
  ::_exit(127);  // as a shell does where it cannot start a program
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

bool has_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  return std::getline(file, line) && !file.eof();
}

// Sends what the options ask for to the child and all it started.
class Signals {
 public:
  Signals(pid_t child, const ProcessOptions& options) : child_(child), options_(options) {}

  void send_due(ProcessResult& result, double elapsed_s) {
    const bool time_has_come = options_.interrupt_after_s > 0 && elapsed_s >= options_.interrupt_after_s;
    const bool text_has_come =
        !options_.interrupt_on_stderr.empty() && result.err.find(options_.interrupt_on_stderr) != std::string::npos;
    const bool line_has_come = !options_.interrupt_on_file.empty() && has_line(options_.interrupt_on_file);
    if (!interrupted_ && (time_has_come || text_has_come || line_has_come)) {
      interrupted_ = true;
      interrupted_at_s_ = elapsed_s;
      ::kill(-child_, options_.signal);
    }
    if (interrupted_ && options_.interrupt_again && !again_ && elapsed_s >= interrupted_at_s_ + 0.2) {
      again_ = true;
      ::kill(-child_, options_.signal);
    }
    if (!result.timed_out && elapsed_s >= options_.timeout_s) {
      result.timed_out = true;
      ::kill(-child_, SIGKILL);
    }
  }

 private:
  pid_t child_;
  const ProcessOptions& options_;
  bool interrupted_ = false;
  bool again_ = false;
  double interrupted_at_s_ = 0.0;
};

void wait_for_output(const Pipe& out, const Pipe& err) {
  std::array<pollfd, 2> waiting{pollfd{out.reader, POLLIN, 0}, pollfd{err.reader, POLLIN, 0}};  // -1 is skipped
  ::poll(waiting.data(), waiting.size(), 5);
}

}  // namespace

ProgramForker& program_forker() {
  static ProgramForker forker = nullptr;
  return forker;
}

ProcessResult run_process(const std::vector<std::string>& arguments, const ProcessOptions& options) {
  std::vector<std::string> argument_strings = arguments;
  std::vector<std::string> environment = environment_with(options.environment);
  Pipe out;
  Pipe err;
  Pipe in;  // closed at once: the child reads an empty input
  Pipe::close(in.writer);
  if (!options.stdout_path.empty()) {
    Pipe::close(out.writer);
    out.writer = ::open(options.stdout_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    check(out.writer >= 0, options.stdout_path.c_str());
  }
  const Child child{pointers(argument_strings), pointers(environment), &options, in.reader, out.writer, err.writer};

  const Clock::time_point start = Clock::now();
  const ProgramForker forker = program_forker();
  pid_t process = forker != nullptr ? forker(arguments, environment, options, {in.reader, out.writer, err.writer}) : -1;
  if (process < 0) {
    process = ::fork();
    check(process >= 0, "fork");
    if (process == 0) {
      run_child(child);
    }
    ::setpgid(process, process);  // in the child too: whoever comes first
  }
  Pipe::close(out.writer);
  Pipe::close(err.writer);

  ProcessResult result;
  Signals signals(process, options);
  int status = 0;
  rusage usage{};
  pid_t ended = 0;
  while (ended == 0) {
    wait_for_output(out, err);
    ended = ::wait4(process, &status, WNOHANG, &usage);
    out.drain(result.out);
    err.drain(result.err);
    result.elapsed_s = seconds_since(start);
    if (ended == 0) {
      signals.send_due(result, result.elapsed_s);
    }
  }
  check(ended == process, "wait4");
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.peak_memory_kib = usage.ru_maxrss;
  return result;
}

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "demask-test-XXXXXX").string();
  check(::mkdtemp(pattern.data()) != nullptr, "mkdtemp");
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void write_file(const std::string& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary);
  file << content;
  file.close();
  if (!file) {
    throw std::runtime_error("cannot write " + path);
  }
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw std::runtime_error("cannot read " + path);
  }
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace demask::testing

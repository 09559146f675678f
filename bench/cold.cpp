#include "bench/cold.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "bench/table.h"
#include "bench/timing.h"
#include "core/error.h"

namespace demask::bench {
namespace {

constexpr int runs = 3;

struct Command {
  const char* name;
  std::vector<std::string> arguments;
};

// With stdout and stderr going nowhere.
class Silence {
 public:
  Silence() {
    posix_spawn_file_actions_init(&actions_);
    posix_spawn_file_actions_addopen(&actions_, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions_, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;
  ~Silence() { posix_spawn_file_actions_destroy(&actions_); }
  const posix_spawn_file_actions_t* actions() const { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_{};
};

double time_process(const std::string& binary, const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {binary};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (std::string& word : words) {
    pointers.push_back(word.data());
  }
  pointers.push_back(nullptr);

  const Silence silence;
  const Clock::time_point start = Clock::now();
  pid_t process = 0;
  if (const int error = posix_spawn(&process, binary.c_str(), silence.actions(), nullptr, pointers.data(), environ);
      error != 0) {
    fail(ExitCode::failed, "could not start '{}': {}", binary, std::strerror(error));
  }
  int status = 0;
  while (waitpid(process, &status, 0) < 0) {
    if (errno != EINTR) {
      fail(ExitCode::failed, "could not wait for '{}': {}", binary, std::strerror(errno));
    }
  }
  const double seconds = seconds_since(start);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    fail(ExitCode::failed, "'{}' did not end well: run it by hand to see why.", fmt::join(words, " "));
  }
  return seconds;
}

std::vector<Command> commands(const Options& options) {
  std::vector<Command> commands = {
      {"diffusion", {"--sampling_method=diffusion", "--num_samples=4", "--sequence_length=512"}},
      {"standard", {"--sampling_method=standard", "--max_new_tokens=100", "--start_text=To be or not to be"}},
  };
  const std::vector<std::string> more = passed_through(options);
  for (Command& command : commands) {
    command.arguments.insert(command.arguments.end(), more.begin(), more.end());
  }
  commands.push_back({"--help", {"--help"}});
  return commands;
}

}  // namespace

nlohmann::ordered_json run_cold(const std::string& binary, const Options& options, std::FILE* file) {
  auto results = nlohmann::ordered_json::array();
  fmt::print(file, "\nWhole processes, {} runs each\n", runs);
  Table table(file, {{"command", 30}, {"min", 8}, {"median", 8}});
  for (const Command& command : commands(options)) {
    std::vector<double> every;
    every.reserve(runs);
    for (int run = 0; run < runs; ++run) {
      every.push_back(time_process(binary, command.arguments));
    }
    const Spread seconds = spread(every);
    table.row({command.name, show_seconds(seconds.least), show_seconds(seconds.median)});
    results.push_back({{"command", command.name}, {"arguments", command.arguments}, {"seconds", spread_json(every)}});
  }
  return results;
}

}  // namespace demask::bench

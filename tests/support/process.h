// Starts a real program as a user would and keeps what it printed.
#pragma once

#include <sys/types.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

namespace demask::testing {

struct ProcessOptions {
  std::string directory;                                         // working directory; empty: the caller's
  std::vector<std::pair<std::string, std::string>> environment;  // added to the caller's
  std::string stdout_path;                                       // send stdout to this file instead of keeping it
  double interrupt_after_s = 0.0;                                // send `signal` after this long, if > 0
  int signal = 2;                                                // SIGINT
  std::string interrupt_on_stderr;                               // or as soon as stderr holds this text
  std::string interrupt_on_file;                                 // or as soon as this file has a line in it
  bool interrupt_again = false;                                  // and once more 0.2 s later
  double timeout_s = 300.0;                                      // then SIGKILL, and timed_out
  size_t address_space_bytes = 0;                                // RLIMIT_AS, if > 0
};

struct ProcessResult {
  int exit_code = -1;  // 128 + n where signal n ended it
  bool timed_out = false;
  std::string out;
  std::string err;
  double elapsed_s = 0.0;
  long peak_memory_kib = 0;  // largest resident set of the process
};

// arguments[0] is the program.
ProcessResult run_process(const std::vector<std::string>& arguments, const ProcessOptions& options = {});

// Makes a process of the program, a child of this one in a process group of its own, with these descriptors as its
// standard streams; -1 where it has to be started instead. Empty in tests without forked_program.cpp.
using ProgramForker = pid_t (*)(const std::vector<std::string>& arguments, const std::vector<std::string>& environment,
                                const ProcessOptions& options, const std::array<int, 3>& streams);
ProgramForker& program_forker();

// A folder that is removed with all it holds at the end of the test.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

void write_file(const std::string& path, const std::string& content);
std::string read_file(const std::string& path);

}  // namespace demask::testing

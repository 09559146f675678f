// A list of prompts or texts that is read as it comes: from a pipe, a socket, a terminal.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "app/line_ranges.h"
#include "app/list_line.h"
#include "app/work_list.h"
#include "core/error.h"
#include "core/waiting_input.h"
#include "engine/work.h"
#include "output/output_file.h"

namespace demask {

// A list that is open to be read as it comes.
struct OpenList {
  Descriptor descriptor;
  std::string name;             // for messages
  std::optional<bool> is_json;  // as its name says; none: its first byte does, as of standard input
};

// Opens the list at `path`, or standard input for "-", where that is no regular file. Gives nothing for a regular file,
// which is read whole, and for a path where nothing is. Throws Error(bad_input) where the list cannot be opened.
std::optional<OpenList> open_as_it_comes(const std::string& path);

struct PromptStreamOptions {
  ListOf what = ListOf::prompts;
  bool skip_bad = false;
  std::chrono::milliseconds batch_wait{0};
  int stop_descriptor = -1;  // reading ends where it can be read from
  // How much is read ahead of what is drawn. Whoever writes more has to wait.
  size_t most_lines = 4096;
  size_t most_bytes = size_t{64} << 20;
};

// How the reading ended.
struct StreamEnd {
  std::optional<Error> error;  // a line that cannot be used, or a list without any
  int64_t bad_lines = 0;       // that were left out, each with a notice
  LineRanges waiting;          // lines that were read, and that next() has not given
};

// Reads lines on a thread of its own and makes them ready to be drawn, a bounded number ahead.
class PromptStream {
 public:
  // Throws Error where a prompt does not fit; called on the stream's thread.
  using Prepare = std::function<WorkEntry(Prompt)>;

  PromptStream(OpenList list, const PromptStreamOptions& options, Prepare prepare);
  PromptStream(const PromptStream&) = delete;
  PromptStream& operator=(const PromptStream&) = delete;
  ~PromptStream();

  // Waits until lines are there that fill `enough` rows, or the first of them has waited for batch_wait. Gives all that
  // are there by then, their samples numbered through the list; none at the end, whatever the reason.
  // Throws what `prepare` throws other than Error.
  std::vector<WorkEntry> next(int64_t enough);

  // Ends the reading where it has not ended, and says how it did. Once.
  StreamEnd end();

 private:
  struct Waiting {
    WorkEntry entry;
    std::chrono::steady_clock::time_point arrived;
  };

  void run() noexcept;
  void read_lines();
  bool take(const Lines& line, bool is_json);
  void refuse(const BadLine& bad);
  void push(WorkEntry entry, size_t bytes);

  OpenList list_;
  PromptStreamOptions options_;
  Prepare prepare_;
  Descriptor wake_;       // ends a wait for input
  int64_t samples_ = 0;   // of the lines so far
  LineRanges not_taken_;  // lines that were in memory when the reading was ended

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Waiting> waiting_;
  size_t bytes_ = 0;  // that these take, about
  int64_t rows_ = 0;  // and their rows, of no more than a batch's order each
  bool stopping_ = false;
  bool ended_ = false;
  StreamEnd end_;
  std::exception_ptr failure_;
  std::thread thread_;
};

}  // namespace demask

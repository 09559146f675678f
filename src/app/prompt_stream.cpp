#include "app/prompt_stream.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "core/notice.h"
#include "core/text.h"

namespace demask {
namespace {

using Clock = std::chrono::steady_clock;

// Samples that are counted of one line at most: so many fill any batch, and their product with its rows stays in range.
constexpr int64_t many_samples = 1 << 20;

// What a line takes in memory, about, until it is drawn: its text, and its tokens with their marks.
size_t bytes_of(const Lines& line, const WorkEntry& entry) {
  constexpr size_t each = 1024, per_token = 2 * sizeof(int64_t);
  return each + 2 * line.bytes() + static_cast<size_t>(entry.length) * per_token;
}

// A reason of the reader of lines is no sentence, one of those who prepare prompts is.
std::string with_advice(const std::string& reason) {
  return ends_with(reason, ".") ? reason + " Or leave such lines out with --on_error=skip."
                                : reason + ". Mend it, or leave such lines out with --on_error=skip.";
}

}  // namespace

std::optional<OpenList> open_as_it_comes(const std::string& path) {
  const bool is_stdin = path == "-";
  struct stat status {};
  const bool there = is_stdin ? ::fstat(STDIN_FILENO, &status) == 0 : ::stat(path.c_str(), &status) == 0;
  if (!there || S_ISREG(status.st_mode) || (!is_stdin && S_ISDIR(status.st_mode))) {
    return std::nullopt;
  }
  // A pipe that nobody writes yet is open at once, so that models are loaded meanwhile.
  OpenList list{is_stdin ? duplicate(STDIN_FILENO)
                         : Descriptor(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)),  // NOLINT(*-vararg)
                is_stdin ? "standard input" : path, std::nullopt};
  if (!list.descriptor.is_open()) {
    fail(ExitCode::bad_input, "'{}' cannot be read: {}.", list.name, last_error());
  }
  if (ends_with(path, ".jsonl") || ends_with(path, ".txt")) {
    list.is_json = ends_with(path, ".jsonl");
  }
  return list;
}

PromptStream::PromptStream(OpenList list, const PromptStreamOptions& options, Prepare prepare)
    : list_(std::move(list)),
      options_(options),
      prepare_(std::move(prepare)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      thread_([this] { run(); }) {}

PromptStream::~PromptStream() {
  static_cast<void>(end());
}

std::vector<WorkEntry> PromptStream::next(int64_t enough) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return ended_ || !waiting_.empty(); });
  if (failure_) {
    std::rethrow_exception(std::exchange(failure_, nullptr));
  }
  if (!waiting_.empty()) {
    changed_.wait_until(lock, waiting_.front().arrived + options_.batch_wait,
                        [this, enough] { return ended_ || rows_ >= enough; });
  }
  std::vector<WorkEntry> entries;
  entries.reserve(waiting_.size());
  for (Waiting& one : waiting_) {
    entries.push_back(std::move(one.entry));
  }
  waiting_.clear();
  bytes_ = 0;
  rows_ = 0;
  changed_.notify_all();
  return entries;
}

StreamEnd PromptStream::end() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  const uint64_t one = 1;
  static_cast<void>(!::write(wake_.get(), &one, sizeof one));
  if (thread_.joinable()) {
    thread_.join();
  }
  for (const Waiting& line : waiting_) {
    end_.waiting.add(line.entry.prompt.line);
  }
  waiting_.clear();
  end_.waiting.append(std::exchange(not_taken_, {}));
  return std::move(end_);
}

void PromptStream::run() noexcept {
  std::exception_ptr failure;
  try {
    read_lines();
  } catch (...) {
    failure = std::current_exception();
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  failure_ = failure;
  ended_ = true;
  changed_.notify_all();
}

void PromptStream::read_lines() {
  WaitingInput input(list_.descriptor.get(), {options_.stop_descriptor, wake_.get()});
  Lines lines(input, max_prompt_line_bytes, options_.skip_bad ? LongLine::measured : LongLine::cut_off);
  const bool is_json = list_.is_json ? *list_.is_json : lines.first_byte() == '{';
  const auto stops = [&] {
    const std::lock_guard<std::mutex> lock(mutex_);
    return stopping_ || input.stopped();
  };
  bool goes_on = true;
  while (goes_on && lines.next()) {
    if (stops()) {
      not_taken_.add(lines.number());
    } else {
      goes_on = take(lines, is_json);
    }
  }
  if (!goes_on || stops()) {
    return;
  }
  try {
    if (input.failed()) {
      fail(ExitCode::bad_input, "'{}' cannot be read beyond line {}: {}.", list_.name, lines.number(), input.error());
    }
    if (samples_ == 0 && end_.bad_lines == 0) {
      fail_empty_list(list_.name, options_.what);
    }
  } catch (const Error& error) {
    end_.error = error;
  }
}

// False where the reading ends with this line.
bool PromptStream::take(const Lines& line, bool is_json) {
  try {
    if (!options_.skip_bad && !line.ended() && line.bytes() > max_prompt_line_bytes) {  // cut off
      fail(ExitCode::bad_input, "the line has more than {} bytes: no more are allowed", max_prompt_line_bytes);
    }
    std::optional<Prompt> prompt = read_list_line({line.text(), line.bytes(), line.number()}, options_.what, is_json);
    if (prompt) {
      WorkEntry entry = prepare_(std::move(*prompt));
      entry.first = samples_;
      samples_ += entry.samples;
      const size_t bytes = bytes_of(line, entry);
      push(std::move(entry), bytes);
    }
    return true;
  } catch (const Error& error) {
    const bool torn = is_json && !line.ended() && line.bytes() <= max_prompt_line_bytes;
    refuse({line.number(), (torn ? "the input ended within the line: " : "") + std::string(error.what())});
    return options_.skip_bad;
  }
}

void PromptStream::refuse(const BadLine& bad) {
  const std::string words = bad_line_in_words(list_.name, bad);
  if (options_.skip_bad) {
    notice("left out: {}", words);
    ++end_.bad_lines;
  } else {
    end_.error = Error(ExitCode::bad_input,
                       printable_lines(with_advice(words) + " The lines before it are answered, none after it is."));
  }
}

void PromptStream::push(WorkEntry entry, size_t bytes) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [&] {
    return stopping_ || waiting_.empty() ||
           (waiting_.size() < options_.most_lines && bytes_ + bytes <= options_.most_bytes);
  });
  bytes_ += bytes;
  rows_ += std::min(entry.samples, many_samples) * entry.rows;
  waiting_.push_back({std::move(entry), Clock::now()});
  changed_.notify_all();
}

}  // namespace demask

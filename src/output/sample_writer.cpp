#include "demask/output/sample_writer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <string_view>
#include <system_error>

#include "demask/core/error.h"
#include "demask/core/temporary_files.h"
#include "demask/output/readable.h"

namespace demask {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail_output(const std::string& name, const std::string& reason) {
  fail(ExitCode::failed, "the output '{}' could not be written: {}", name, reason);
}

std::string last_error() {
  return std::generic_category().message(errno);
}

// An open file, closed with its owner.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  Descriptor(Descriptor&& other) noexcept : value_(std::exchange(other.value_, -1)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (value_ >= 0) {
      ::close(value_);
    }
  }
  bool is_open() const { return value_ >= 0; }

  // All of `text`, however many calls it takes; false with errno set where one fails.
  bool write_all(std::string_view text) const {
    while (!text.empty()) {
      const ssize_t written = ::write(value_, text.data(), text.size());
      if (written < 0 && errno != EINTR) {
        return false;
      }
      text.remove_prefix(static_cast<size_t>(std::max<ssize_t>(written, 0)));
    }
    return true;
  }
  // Some file systems report a failed write only here.
  bool close() { return ::close(std::exchange(value_, -1)) == 0; }
  int get() const { return value_; }

 private:
  int value_;
};

// Where a writer's bytes go.
class Output {
 public:
  virtual ~Output() = default;
  // All of `text` or, where the file allows it, nothing.
  virtual void append(std::string_view text) = 0;
  virtual void finish() = 0;
};

// Written as it comes.
class DirectOutput : public Output {
 public:
  // `undo_partial` where the file is a regular one that was opened empty: a failed append is then cut off again.
  DirectOutput(Descriptor descriptor, std::string name, bool undo_partial)
      : descriptor_(std::move(descriptor)), name_(std::move(name)), undo_partial_(undo_partial) {
    if (!descriptor_.is_open()) {
      fail_output(name_, last_error());
    }
  }

  void append(std::string_view text) override {
    if (!descriptor_.write_all(text)) {
      std::string reason = last_error();
      if (undo_partial_ && ::ftruncate(descriptor_.get(), size_) != 0) {
        reason += "; its last line is incomplete";
      }
      fail_output(name_, reason);
    }
    size_ += static_cast<off_t>(text.size());
  }

  void finish() override {
    if (!descriptor_.close()) {
      fail_output(name_, last_error());
    }
  }

 private:
  Descriptor descriptor_;
  std::string name_;
  bool undo_partial_;
  off_t size_ = 0;
};

// Written beside its target and renamed over it when finished.
class ReplacingOutput : public Output {
 public:
  // `target` is `name` with symbolic links followed.
  ReplacingOutput(fs::path target, std::string name)
      : name_(std::move(name)), target_(std::move(target)), temporary_(temporary_path(target_)) {
    struct stat existing {};
    const bool exists = ::stat(target_.c_str(), &existing) == 0;
    if (exists && ::access(target_.c_str(), W_OK) != 0) {
      fail_output(name_, last_error());
    }
    register_temporary(temporary_);
    // One left by a killed process of the same id would be in the way of O_EXCL, which keeps us from following a link.
    ::unlink(temporary_.c_str());
    descriptor_.emplace(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));  // NOLINT(*-vararg)
    if (!descriptor_->is_open()) {
      const std::string reason = last_error();
      unregister_temporary(temporary_);
      fail_output(name_,
                  fmt::format("no file can be made in its folder '{}': {}", folder_of(target_).string(), reason));
    }
    if (exists) {
      ::fchmod(descriptor_->get(), existing.st_mode & 07777);
    }
  }
  ReplacingOutput(const ReplacingOutput&) = delete;
  ReplacingOutput& operator=(const ReplacingOutput&) = delete;
  ~ReplacingOutput() override {
    if (!finished_) {
      ::unlink(temporary_.c_str());
      unregister_temporary(temporary_);
    }
  }

  void append(std::string_view text) override {
    if (!descriptor_->write_all(text)) {
      fail_output(name_, last_error());
    }
  }

  void finish() override {
    // The data must be on disk before the name is, or a crash could leave an empty file in place of the older one.
    if (::fsync(descriptor_->get()) != 0 || !descriptor_->close() ||
        ::rename(temporary_.c_str(), target_.c_str()) != 0) {
      fail_output(name_, last_error());
    }
    finished_ = true;
    unregister_temporary(temporary_);
  }

 private:
  static fs::path folder_of(const fs::path& target) { return target.has_parent_path() ? target.parent_path() : "."; }
  static std::string temporary_path(const fs::path& target) {
    return (folder_of(target) / fmt::format(".{}.{}.tmp", target.filename().string(), ::getpid())).string();
  }

  std::string name_;
  fs::path target_;
  std::string temporary_;
  std::optional<Descriptor> descriptor_;
  bool finished_ = false;
};

Descriptor duplicate(int descriptor) {
  return Descriptor(::fcntl(descriptor, F_DUPFD_CLOEXEC, 0));  // NOLINT(*-vararg)
}

Descriptor open_to_write(const std::string& path) {
  return Descriptor(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));  // NOLINT(*-vararg)
}

// stdout or stderr, if that is where this file already goes (/dev/stdout): opened again, it would be overwritten from
// its start.
std::optional<int> standard_stream(const struct stat& file) {
  for (const int stream : {STDOUT_FILENO, STDERR_FILENO}) {
    struct stat status {};
    if (::fstat(stream, &status) == 0 && status.st_dev == file.st_dev && status.st_ino == file.st_ino) {
      return stream;
    }
  }
  return std::nullopt;
}

std::unique_ptr<Output> open_output(const std::string& path, bool by_lines) {
  struct stat status {};
  const bool exists = ::stat(path.c_str(), &status) == 0;
  if ((exists && S_ISDIR(status.st_mode)) || !fs::path(path).has_filename()) {
    fail_output(path, "it does not name a file but a folder");
  }
  const std::optional<int> stream = exists ? standard_stream(status) : std::nullopt;
  if (stream) {
    return std::make_unique<DirectOutput>(duplicate(*stream), path, false);
  }
  const bool regular = !exists || S_ISREG(status.st_mode);
  if (by_lines || !regular) {
    return std::make_unique<DirectOutput>(open_to_write(path), path, regular);
  }
  std::error_code unresolved;
  const fs::path target = fs::canonical(path, unresolved);
  return std::make_unique<ReplacingOutput>(unresolved ? fs::path(path) : target, path);
}

class TextWriter : public SampleWriter {
 public:
  TextWriter(std::unique_ptr<Output> output, const RunDescription& run, const Vocabulary& vocabulary)
      : output_(std::move(output)), run_(run), vocabulary_(vocabulary) {}

  void begin() override { output_->append(header()); }

  void write(const Sample& sample) override {
    const std::string text = vocabulary_.decode(sample.tokens, run_.mask_token_id);
    std::string form = fmt::format("{}\nSAMPLE {}/{}", rule, sample.index - run_.first_sample + 1, run_.num_samples);
    if (run_.first_sample > 0) {
      form += fmt::format(" (index {})", sample.index);
    }
    form += fmt::format("\nSelf-confidence: {:.4f} (prob: {:.6f})\n{}\n{}\n", sample.self_confidence,
                        std::exp(sample.self_confidence), text, statistics(text));
    output_->append(form);
  }

  void finish(const RunTotals& totals) override {
    const double tokens_per_s = totals.elapsed_s > 0 ? static_cast<double>(totals.tokens) / totals.elapsed_s : 0.0;
    output_->append(fmt::format("{}\nGenerated {} tokens in {:.3f} s ({:.0f} tokens/s, {} forwards)\n", rule,
                                totals.tokens, totals.elapsed_s, tokens_per_s, totals.forwards));
    output_->finish();
  }

 private:
  static constexpr std::string_view rule = "============================================================";

  std::string header() const {
    size_t width = 0;
    for (const auto& [label, value] : run_.header) {
      width = std::max(width, value.empty() ? 0 : label.size() + 1);
    }
    std::string lines;
    for (const auto& [label, value] : run_.header) {
      lines += value.empty() ? label + "\n" : fmt::format("{:<{}} {}\n", label + ":", width, value);
    }
    return lines;
  }

  static std::string statistics(std::string_view text) {
    const std::vector<std::string_view> characters = code_points(text);
    std::string line = fmt::format("Stats: {} chars", characters.size());
    std::string_view separator = ", most common: ";
    for (const auto& [character, count] : most_common(characters, 5)) {
      line += fmt::format("{}{}: {}", separator, repr(character), count);
      separator = ", ";
    }
    return line;
  }

  std::unique_ptr<Output> output_;
  RunDescription run_;
  const Vocabulary& vocabulary_;
};

class JsonLinesWriter : public SampleWriter {
 public:
  JsonLinesWriter(std::unique_ptr<Output> output, const RunDescription& run, const Vocabulary& vocabulary)
      : output_(std::move(output)), run_(run), vocabulary_(vocabulary) {}

  void begin() override {}

  void write(const Sample& sample) override {
    nlohmann::ordered_json line;
    line["index"] = sample.index;
    line["seed"] = run_.seed;
    line["text"] = vocabulary_.decode(sample.tokens, run_.mask_token_id);
    line["tokens"] = sample.tokens;
    line["self_confidence"] = nullptr;  // JSON has no infinity
    if (std::isfinite(sample.self_confidence)) {
      line["self_confidence"] = sample.self_confidence;
    }
    line["method"] = run_.method;
    line["checkpoint"] = run_.checkpoint;
    line["settings"] = run_.settings;
    // Paths need not be UTF-8: what is not is replaced rather than losing the sample.
    output_->append(line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
  }

  void finish(const RunTotals& /*totals*/) override { output_->finish(); }

 private:
  std::unique_ptr<Output> output_;
  RunDescription run_;
  const Vocabulary& vocabulary_;
};

bool ends_with(std::string_view text, std::string_view ending) {
  return text.size() >= ending.size() && text.substr(text.size() - ending.size()) == ending;
}

}  // namespace

std::unique_ptr<SampleWriter> make_text_writer(int descriptor, std::string name, const RunDescription& run,
                                               const Vocabulary& vocabulary) {
  return std::make_unique<TextWriter>(std::make_unique<DirectOutput>(duplicate(descriptor), std::move(name), false),
                                      run, vocabulary);
}

std::unique_ptr<SampleWriter> make_file_writer(const std::string& path, const RunDescription& run,
                                               const Vocabulary& vocabulary) {
  if (ends_with(path, ".jsonl")) {
    return std::make_unique<JsonLinesWriter>(open_output(path, true), run, vocabulary);
  }
  return std::make_unique<TextWriter>(open_output(path, false), run, vocabulary);
}

}  // namespace demask

// The JSON lines file of a run: a header line that says what made it, then one line a sample in the order of their
// indices. A run that was killed at any moment is taken up where its file ends.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

namespace demask {

class DirectOutput;

struct IndexRange {
  int64_t first = 0;
  int64_t count = 0;
  int64_t end() const { return first + count; }
};

struct RunFileOptions {
  std::string path;
  // One object, which becomes the first line: "demask" (the version) first, "first" and "samples" of the whole run, and
  // only in a shard's file, last, "shard": {"index", "count", "first", "samples"}.
  nlohmann::ordered_json header;
  // Members of the header, or of "settings" in it, that may differ on resume and in merging: paths.
  std::set<std::string> not_compared;
  IndexRange range;  // of the indices that this file holds once complete
  bool resume = false;
};

// A regular file is locked against other runs while this lives, and written in whole lines in the order of the indices.
// Lines that come before their turn wait beside it, in PATH.pending, which does not outlive finish(). Whatever moment
// the process is killed at, resuming finds every line that append() returned for. Other files, and whatever stdout or
// stderr already go to, are written straight: not locked, not resumed, and lines before their turn wait in memory.
// Not for use by several threads at once.
class RunFile {
 public:
  // Opens, locks, and either starts the file with its header or, on resume, reads how far it goes. Throws
  // Error(failed) where the file cannot be written or another run writes it, Error(bad_usage) where it is to be resumed
  // but is of a run with other settings or no regular file, and Error(bad_input) where it is none of demask's or its
  // lines are not in order. Whatever is thrown on resume, the earlier run's whole lines are still there.
  explicit RunFile(const RunFileOptions& options);
  RunFile(RunFile&&) noexcept;
  RunFile& operator=(RunFile&&) noexcept;
  // Unless finished, leaves everything as a resumed run needs it.
  ~RunFile();

  // Every index of the range below it is in the file.
  int64_t next() const { return next_; }
  // Lines, without their ends, that wait for one before them.
  const std::map<int64_t, std::string>& held() const { return held_; }
  // Whether append() has had it, in this process or an earlier one.
  bool has(int64_t index) const;
  // Whether there are lines of an earlier run or of this one.
  bool begun() const { return next_ > range_.first || !held_.empty(); }
  bool complete() const { return next_ == range_.end(); }

  // Takes the lines in any order, each once: `line` is a JSON object that begins with {"index":N, and has no line end.
  // Throws Error(failed) where it cannot be written, and then the file still ends with a whole line; std::logic_error
  // where it is no such line, is there already, or its index is out of range.
  void append(int64_t index, std::string line);

  // Brings the file to the disk and unlocks it. Throws Error(failed) where that fails, std::logic_error where a line is
  // missing.
  void finish();

 private:
  void open_regular(const RunFileOptions& options);
  void start_anew();
  void take_up_side();
  void open_side(int64_t bytes);
  void remove_side();
  void hold(int64_t index, std::string line);
  void write_from_next(std::string text);

  std::string path_;
  std::string side_path_;    // empty where nothing may be kept beside the file
  std::string header_line_;  // as it is in the file
  IndexRange range_;
  int64_t next_;
  std::map<int64_t, std::string> held_;
  std::unique_ptr<DirectOutput> file_;
  std::unique_ptr<DirectOutput> side_;  // open from the first held line on, and empty whenever none is held
};

}  // namespace demask

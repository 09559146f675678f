// Runs' files that tests of writing and of merging them share.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "core/error.h"
#include "output/merge_run_files.h"
#include "output/run_file.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"

namespace demask::run_file_test {

namespace fs = std::filesystem;
using nlohmann::ordered_json;
using testing::read_file;
using testing::TemporaryFolder;
using testing::write_file;

inline ordered_json header_of(int64_t first, int64_t samples) {
  return {{"demask", "0.2.0"},
          {"first", first},
          {"samples", samples},
          {"checkpoint", "out/a.pt"},
          {"settings", {{"seed", 1337}, {"top_p", 0.9}, {"output", "x.jsonl"}}}};
}

inline RunFileOptions options_of(const std::string& path, int64_t samples, bool resume = false) {
  RunFileOptions options;
  options.path = path;
  options.header = header_of(0, samples);
  options.not_compared = {"checkpoint", "output"};
  options.range = {0, samples};
  options.resume = resume;
  return options;
}

inline std::string line_of(int64_t index) {
  return fmt::format(R"({{"index":{},"text":"{}"}})", index, std::string(static_cast<size_t>(index * 37 % 90), 'x'));
}

inline std::string content_of(const ordered_json& header, const IndexRange& range) {
  std::string content = header.dump() + "\n";
  for (int64_t index = range.first; index < range.end(); ++index) {
    content += line_of(index) + "\n";
  }
  return content;
}

inline std::string content_of(int64_t samples) {
  return content_of(header_of(0, samples), {0, samples});
}

inline void complete(RunFile& file, const IndexRange& range) {
  for (int64_t index = range.first; index < range.end(); ++index) {
    if (!file.has(index)) {
      file.append(index, line_of(index));
    }
  }
  file.finish();
}

// Resumes and completes the run, and gives what is then in the file.
inline std::string completed(const RunFileOptions& options) {
  RunFileOptions resumed = options;
  resumed.resume = true;
  RunFile file(resumed);
  complete(file, options.range);
  return read_file(options.path);
}

// "bad_usage: the message" of the Error that `action` throws.
inline std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    const std::string code = error.code() == ExitCode::bad_usage   ? "bad_usage"
                             : error.code() == ExitCode::bad_input ? "bad_input"
                             : error.code() == ExitCode::failed    ? "failed"
                                                                   : "other";
    return code + ": " + error.what();
  }
  return "no error";
}

// The same of resuming the run.
inline std::string resume_error(const RunFileOptions& options) {
  return error_of([&options] {
    RunFileOptions resumed = options;
    resumed.resume = true;
    const RunFile file(resumed);
  });
}

inline std::set<std::string> names_in(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.insert(entry.path().filename().string());
  }
  return names;
}

// Files of a run of 10 samples from 100 on that was divided among three.
class Divided {
 public:
  Divided() {
    write_shard(0, 3, {100, 4});
    write_shard(1, 3, {104, 0});
    write_shard(2, 3, {104, 6});
  }

  std::string path(int64_t index) const { return folder_ / fmt::format("part-{}.jsonl", 9 - index); }
  std::string pattern() const { return folder_ / "part-*.jsonl"; }
  std::string output() const { return folder_ / "all.jsonl"; }
  const TemporaryFolder& folder() const { return folder_; }

  RunFileOptions options(int64_t index, int64_t count, const IndexRange& range) const {
    RunFileOptions result = options_of(path(index), 0);
    result.header = whole();
    result.header["settings"]["output"] = result.path;
    result.header["shard"] = {{"index", index}, {"count", count}, {"first", range.first}, {"samples", range.count}};
    result.range = range;
    return result;
  }
  void write_shard(int64_t index, int64_t count, const IndexRange& range) const {
    RunFile file(options(index, count, range));
    complete(file, range);
  }
  // Replaces text in the file of a shard.
  void change(int64_t index, const std::string& before, const std::string& after) const {
    std::string content = read_file(path(index));
    content.replace(content.find(before), before.size(), after);
    write_file(path(index), content);
  }
  void merge() const { merge_run_files(pattern(), output(), {"checkpoint", "output"}); }
  std::string merge_error() const {
    const std::string error = error_of([this] { merge(); });
    CHECK_FALSE(fs::exists(output()));
    return error;
  }
  static ordered_json whole() { return header_of(100, 10); }

 private:
  TemporaryFolder folder_;
};

}  // namespace demask::run_file_test

#include "output/run_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/child.h"
#include "tests/support/file_size_limit.h"
#include "tests/support/process.h"
#include "tests/unit/output/run_files.h"

namespace demask {
namespace run_file_test {
namespace {

using Catch::Matchers::ContainsSubstring;
using testing::Child;
using testing::FileSizeLimit;
using testing::Shared;

// A run of demask that holds its output's lock while this lives.
class OtherRun {
 public:
  explicit OtherRun(const RunFileOptions& options)
      : child_([this, &options] {
          const RunFile file(options);
          started_[0] = true;
          while (true) {
            ::pause();
          }
        }) {
    while (!started_[0]) {
      ::usleep(100);
    }
  }

 private:
  Shared<std::atomic<bool>> started_{1};
  Child child_;
};

TEST_CASE("the file is the header and the lines in order, in whatever order they come") {
  const TemporaryFolder folder;
  std::vector<int64_t> order{0, 1, 2, 3, 4};
  do {
    RunFile file(options_of(folder / "a.jsonl", 5));
    for (const int64_t index : order) {
      CHECK_FALSE(file.has(index));
      CHECK_FALSE(file.complete());
      file.append(index, line_of(index));
      CHECK(file.has(index));
    }
    CHECK(file.complete());
    file.finish();
    REQUIRE(read_file(folder / "a.jsonl") == content_of(5));
    REQUIRE(names_in(folder.path()) == std::set<std::string>{"a.jsonl"});
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("a line is in the file as soon as its turn has come, and beside it before") {
  const TemporaryFolder folder;
  RunFile file(options_of(folder / "a.jsonl", 5));
  file.append(0, line_of(0));
  CHECK(names_in(folder.path()) == std::set<std::string>{"a.jsonl"});
  file.append(2, line_of(2));
  file.append(4, line_of(4));
  CHECK(file.next() == 1);
  CHECK(file.held() == std::map<int64_t, std::string>{{2, line_of(2)}, {4, line_of(4)}});
  const std::string head = header_of(0, 5).dump() + "\n";
  CHECK(read_file(folder / "a.jsonl") == head + line_of(0) + "\n");
  CHECK(read_file(folder / "a.jsonl.pending") == head + line_of(2) + "\n" + line_of(4) + "\n");
  file.append(1, line_of(1));
  CHECK(file.next() == 3);
  CHECK(read_file(folder / "a.jsonl") == content_of(header_of(0, 5), {0, 3}));
  file.append(3, line_of(3));
  CHECK(read_file(folder / "a.jsonl.pending").empty());
  file.finish();
  CHECK(names_in(folder.path()) == std::set<std::string>{"a.jsonl"});
}

TEST_CASE("many lines that waited for one are written in order however long they are") {
  const TemporaryFolder folder;
  RunFile file(options_of(folder / "a.jsonl", 40));
  std::string expected = header_of(0, 40).dump() + "\n";
  std::vector<std::string> lines;
  for (int64_t index = 0; index < 40; ++index) {
    lines.push_back(fmt::format(R"({{"index":{},"text":"{}"}})", index, std::string(200000, 'x')));
    expected += lines.back() + "\n";
  }
  for (size_t i = 40; i-- > 0;) {
    file.append(static_cast<int64_t>(i), lines[i]);
  }
  CHECK(file.held().empty());
  file.finish();
  CHECK(read_file(folder / "a.jsonl") == expected);
}

TEST_CASE("a run of no samples is complete with its header") {
  const TemporaryFolder folder;
  RunFile file(options_of(folder / "a.jsonl", 0));
  CHECK(file.complete());
  file.finish();
  CHECK(read_file(folder / "a.jsonl") == content_of(0));
  CHECK(completed(options_of(folder / "a.jsonl", 0)) == content_of(0));
}

TEST_CASE("lines that are none of this file's are refused as mistakes of the caller") {
  const TemporaryFolder folder;
  RunFile file(options_of(folder / "a.jsonl", 5));
  file.append(0, line_of(0));
  file.append(3, line_of(3));
  for (const int64_t index : {0, 3, 5, -1}) {
    CHECK_THROWS_AS(file.append(index, line_of(index)), std::logic_error);
  }
  for (const char* line : {"", "{}", R"({"index":2,"a":1})", R"({"index":1})", R"({"index":1,"a":1)",
                           "{\"index\":1,\n}", R"({"index":x,})", R"({"index":1)"}) {
    CHECK_THROWS_AS(file.append(1, line), std::logic_error);
  }
  CHECK_THROWS_AS(file.finish(), std::logic_error);
  CHECK(completed(options_of(folder / "b.jsonl", 5)) == content_of(5));
}

TEST_CASE("without resume an earlier file and what waited beside it are gone") {
  const TemporaryFolder folder;
  {
    RunFile file(options_of(folder / "a.jsonl", 9));
    file.append(0, line_of(0));
    file.append(7, line_of(7));
  }
  CHECK(names_in(folder.path()) == std::set<std::string>{"a.jsonl", "a.jsonl.pending"});
  const RunFile file(options_of(folder / "a.jsonl", 9));
  CHECK(file.next() == 0);
  CHECK(file.held().empty());
  CHECK(read_file(folder / "a.jsonl") == content_of(header_of(0, 9), {0, 0}));
  CHECK(names_in(folder.path()) == std::set<std::string>{"a.jsonl"});
}

TEST_CASE("lines out of order are an error that names the file, the line and what should be there") {
  const TemporaryFolder folder;
  const RunFileOptions options = options_of(folder / "a.jsonl", 3);
  const std::string head = header_of(0, 3).dump() + "\n";
  const auto message = [&](const std::string& lines) {
    write_file(options.path, head + lines);
    const std::string result = resume_error(options);
    CHECK(read_file(options.path) == head + lines);
    return result;
  };
  const auto expected = [&](int64_t line, const std::string& what) {
    return fmt::format("bad_input: {}:{}: expected {}; something else has changed the file", options.path, line, what);
  };
  CHECK_THAT(message(line_of(0) + "\n" + line_of(2) + "\n"),
             ContainsSubstring(expected(3, "a whole line that begins with {\"index\":1,")));
  CHECK_THAT(message(line_of(0) + "\n" + line_of(0) + "\n"),
             ContainsSubstring(expected(3, "a whole line that begins with {\"index\":1,")));
  CHECK_THAT(message("\n" + line_of(0) + "\n"),
             ContainsSubstring(expected(2, "a whole line that begins with {\"index\":0,")));
  CHECK_THAT(message("{\"index\":0,\n" + line_of(1) + "\n"),
             ContainsSubstring(expected(2, "a whole line that begins with {\"index\":0,")));
  CHECK_THAT(message(line_of(0) + "\n" + line_of(1) + "\n" + line_of(2) + "\n" + line_of(3) + "\n"),
             ContainsSubstring(expected(5, "no line after those of 3 samples")));
}

TEST_CASE("a file that another process writes is neither overwritten nor resumed nor merged, and free once that ends") {
  const Divided divided;
  const RunFileOptions options = divided.options(0, 3, {100, 4});
  {
    const OtherRun other(divided.options(0, 3, {100, 4}));
    const std::string content = read_file(options.path);
    const std::string expected =
        "failed: the output '" + options.path +
        "' is being written by another demask run: wait for that to end, or name another --output";
    CHECK(error_of([&options] { const RunFile file(options); }) == expected);
    CHECK(resume_error(options) == expected);
    CHECK(divided.merge_error() ==
          "failed: the file '" + options.path + "' is being written by a demask run: merge once that has ended");
    CHECK(error_of([&] { merge_run_files(divided.path(2), options.path, {}); }) == expected);
    CHECK(read_file(options.path) == content);
  }
  CHECK_THAT(completed(options), ContainsSubstring(line_of(103)));
  divided.merge();
}

TEST_CASE("a finished file is unlocked") {
  const TemporaryFolder folder;
  RunFile file(options_of(folder / "a.jsonl", 1));
  complete(file, {0, 1});
  const int other = ::open((folder / "a.jsonl").c_str(), O_RDONLY | O_CLOEXEC);
  CHECK(::flock(other, LOCK_EX | LOCK_NB) == 0);
  ::close(other);
}

TEST_CASE("a full disk leaves whole lines, and the run goes on where there is room again") {
  const TemporaryFolder folder;
  const RunFileOptions options = options_of(folder / "a.jsonl", 60);
  std::vector<std::string> errors;
  RunFile file(options);
  const auto append_all = [&file, &errors](int64_t step) {
    for (int64_t index = 0; index < 60; index += step) {
      if (!file.has(index)) {
        errors.push_back(error_of([&file, index] { file.append(index, line_of(index)); }));
      }
    }
  };
  {
    const FileSizeLimit limit(1000);
    append_all(2);
    append_all(1);
    const std::string content = read_file(options.path);
    CHECK(content == content_of(header_of(0, 60), {0, file.next()}));
    CHECK(content.size() > 900);
    const std::string side = read_file(options.path + ".pending");
    CHECK(side.back() == '\n');
    CHECK(static_cast<size_t>(std::count(side.begin(), side.end(), '\n')) > file.held().size());
  }
  const std::string could_not = "' could not be written: File too large";
  CHECK(std::count(errors.begin(), errors.end(), "failed: the output '" + options.path + could_not) > 0);
  CHECK(std::count(errors.begin(), errors.end(), "failed: the output '" + options.path + ".pending" + could_not) > 0);
  complete(file, options.range);
  CHECK(read_file(options.path) == content_of(60));
}

TEST_CASE("a run file on a full device is an error that says so") {
  CHECK(error_of([] { const RunFile file(options_of("/dev/full", 1)); }) ==
        "failed: the output '/dev/full' could not be written: No space left on device");
}

TEST_CASE("a pipe gets the lines in order and no file beside it, but cannot be resumed") {
  const TemporaryFolder folder;
  const std::string path = folder / "pipe";
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  const int reader = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  RunFile file(options_of(path, 3));
  for (const int64_t index : {2, 1, 0}) {
    file.append(index, line_of(index));
  }
  file.finish();
  std::string content(10000, '\0');
  content.resize(static_cast<size_t>(std::max<ssize_t>(::read(reader, content.data(), content.size()), 0)));
  ::close(reader);
  CHECK(content == content_of(3));
  CHECK(names_in(folder.path()) == std::set<std::string>{"pipe"});
  for (const std::string& name : {path, std::string("/dev/null")}) {
    CHECK(resume_error(options_of(name, 3)) ==
          "bad_usage: the output '" + name +
              "' cannot be resumed: --resume=True needs an --output that is a regular file and not where standard "
              "output or error go");
  }
}

TEST_CASE("what standard output already goes to is added to and not overwritten") {
  const TemporaryFolder folder;
  const auto whole_run = [&folder] {
    const int output = ::open((folder / "out").c_str(), O_WRONLY | O_CREAT, 0600);
    ::dup2(output, STDOUT_FILENO);
    static_cast<void>(::write(STDOUT_FILENO, "before\n", 7) + 1);
    RunFile file(options_of("/dev/stdout", 2));
    file.append(1, line_of(1));
    file.append(0, line_of(0));
    file.finish();
    merge_run_files(folder / "part", "/dev/stdout", {});
  };
  RunFile part(options_of(folder / "part", 1));
  complete(part, {0, 1});
  {
    const pid_t process = ::fork();
    if (process == 0) {
      ::_exit(error_of(whole_run) == "no error" ? 0 : 1);
    }
    int status = -1;
    ::waitpid(process, &status, 0);
    CHECK(status == 0);
  }
  CHECK(read_file(folder / "out") == "before\n" + content_of(2) + content_of(1));
  CHECK(names_in(folder.path()) == std::set<std::string>{"out", "part"});
}

TEST_CASE("an output that cannot be opened fails at once, naming path and reason") {
  const TemporaryFolder folder;
  fs::create_directory(folder / "folder.jsonl");
  for (const bool resume : {false, true}) {
    for (const std::string path : {"missing/a.jsonl", "folder.jsonl", "folder.jsonl/"}) {
      CHECK_THAT(error_of([&] { const RunFile file(options_of(folder / path, 1, resume)); }),
                 ContainsSubstring("failed: the output '" + (folder / path) + "' could not be written: "));
    }
  }
}

}  // namespace
}  // namespace run_file_test
}  // namespace demask

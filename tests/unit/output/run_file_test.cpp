#include "output/run_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <functional>
#include <limits>
#include <numeric>
#include <random>
#include <stdexcept>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/file_size_limit.h"
#include "tests/support/process.h"
#include "tests/support/sanitized.h"
#include "tests/unit/output/run_files.h"

namespace demask {
namespace run_file_test {
namespace {

using Catch::Matchers::ContainsSubstring;
using testing::FileSizeLimit;
using testing::sanitized;

std::string resume_error(const RunFileOptions& options) {
  return error_of([&options] {
    RunFileOptions resumed = options;
    resumed.resume = true;
    const RunFile file(resumed);
  });
}

// Another process that does `work`, then waits to be killed.
class Child {
 public:
  explicit Child(const std::function<void()>& work) : process_(::fork()) {
    if (process_ != 0) {
      return;
    }
    int status = 0;
    try {
      work();
    } catch (...) {
      status = 1;
    }
    ::_exit(status);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (process_ > 0) {
      kill();
    }
  }

  // What wait() gives, after a SIGKILL if it has not ended by itself.
  int kill() {
    ::kill(process_, SIGKILL);
    int status = 0;
    ::waitpid(std::exchange(process_, -1), &status, 0);
    return status;
  }

 private:
  pid_t process_;
};

// Memory that forked children share.
template <typename Value>
class Shared {
 public:
  explicit Shared(size_t count)
      : bytes_(count * sizeof(Value)),
        values_(
            static_cast<Value*>(::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  ~Shared() { ::munmap(values_, bytes_); }
  Value& operator[](size_t i) const { return values_[i]; }

 private:
  size_t bytes_;
  Value* values_;
};

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

TEST_CASE("a resumed run goes on after the last line, with those that waited, and keeps the header there is") {
  const TemporaryFolder folder;
  {
    RunFile file(options_of(folder / "a.jsonl", 6));
    for (const int64_t index : {0, 1, 3, 5}) {
      file.append(index, line_of(index));
    }
  }
  RunFileOptions options = options_of(folder / "a.jsonl", 6, true);
  options.header = {{"samples", 6},
                    {"settings", {{"output", "moved.jsonl"}, {"top_p", 0.9}, {"seed", 1337}}},
                    {"checkpoint", "moved.pt"},
                    {"first", 0},
                    {"demask", "0.2.0"}};
  RunFile file(options);
  CHECK(file.next() == 2);
  CHECK(file.held() == std::map<int64_t, std::string>{{3, line_of(3)}, {5, line_of(5)}});
  CHECK(file.has(1));
  CHECK_FALSE(file.has(2));
  CHECK_FALSE(file.has(4));
  complete(file, {0, 6});
  CHECK(read_file(folder / "a.jsonl") == content_of(6));
  CHECK(names_in(folder.path()) == std::set<std::string>{"a.jsonl"});
}

TEST_CASE("a run can be resumed through a symbolic link to its file") {
  const TemporaryFolder folder;
  {
    RunFile file(options_of(folder / "a.jsonl", 3));
    file.append(2, line_of(2));
  }
  fs::create_symlink("a.jsonl", folder / "link.jsonl");
  RunFile file(options_of(folder / "link.jsonl", 3, true));
  CHECK(file.has(2));
  complete(file, {0, 3});
  CHECK(fs::is_symlink(folder / "link.jsonl"));
  CHECK(read_file(folder / "a.jsonl") == content_of(3));
}

TEST_CASE("resuming a file that is absent, empty or ends in its header starts it") {
  const TemporaryFolder folder;
  const RunFileOptions options = options_of(folder / "a.jsonl", 3);
  CHECK(completed(options) == content_of(3));
  const std::string header = options.header.dump();
  for (size_t length = 0; length <= header.size(); ++length) {
    write_file(options.path, header.substr(0, length));
    write_file(options.path + ".pending", header + "\n" + line_of(1) + "\n");  // of a file that has been removed since
    RunFile file(options_of(options.path, 3, true));
    REQUIRE_FALSE(file.has(1));
    complete(file, {0, 3});
    REQUIRE(read_file(options.path) == content_of(3));
  }
  RunFileOptions elsewhere = options;
  elsewhere.header["checkpoint"] = "moved.pt";
  write_file(options.path, header);
  CHECK(completed(elsewhere) == content_of(elsewhere.header, {0, 3}));
}

TEST_CASE("a last line that is torn anywhere is made again") {
  const TemporaryFolder folder;
  const RunFileOptions options = options_of(folder / "a.jsonl", 4);
  const std::string kept = content_of(header_of(0, 4), {0, 2});
  const std::string line = line_of(2);
  for (size_t length = 0; length <= line.size(); ++length) {
    for (const char* end : {"", "\n"}) {
      write_file(options.path, kept + line.substr(0, length) + end);
      RunFile file(options_of(options.path, 4, true));
      REQUIRE(file.next() == (line.substr(0, length) + end == line + "\n" ? 3 : 2));
      complete(file, {0, 4});
      REQUIRE(read_file(options.path) == content_of(4));
    }
  }
}

TEST_CASE("a torn line beside the file is lost and those before and after it are kept") {
  const TemporaryFolder folder;
  const RunFileOptions options = options_of(folder / "a.jsonl", 6);
  const std::string head = header_of(0, 6).dump() + "\n";
  const std::string side = head + line_of(2) + "\n" + line_of(4) + "\n";
  for (size_t length = 0; length < side.size(); ++length) {
    write_file(options.path, head);
    write_file(options.path + ".pending", side.substr(0, length));
    {
      RunFile file(options_of(options.path, 6, true));
      REQUIRE(file.has(2) == (length >= side.size() - line_of(4).size() - 1));
      REQUIRE_FALSE(file.has(4));
      file.append(5, line_of(5));
    }
    RunFile file(options_of(options.path, 6, true));
    REQUIRE(file.has(5));
    complete(file, {0, 6});
    REQUIRE(read_file(options.path) == content_of(6));
    REQUIRE(names_in(folder.path()) == std::set<std::string>{"a.jsonl"});
  }
}

TEST_CASE("lines beside the file that are in it already, of no index of it, or of another run count for nothing") {
  const TemporaryFolder folder;
  const RunFileOptions options = options_of(folder / "a.jsonl", 6);
  const std::string head = header_of(0, 6).dump() + "\n";
  write_file(options.path, content_of(header_of(0, 6), {0, 2}));
  write_file(options.path + ".pending",
             head + line_of(0) + "\n" + line_of(1) + "\n" + line_of(6) + "\n\nnoise\n" + line_of(4) + "\n");
  {
    const RunFile file(options_of(options.path, 6, true));
    CHECK(file.held() == std::map<int64_t, std::string>{{4, line_of(4)}});
  }
  write_file(options.path + ".pending", header_of(1, 6).dump() + "\n" + line_of(4) + "\n");
  RunFile file(options_of(options.path, 6, true));
  CHECK(file.held().empty());
  file.append(5, line_of(5));
  CHECK(read_file(options.path + ".pending") == head + line_of(5) + "\n");
}

TEST_CASE("a run killed between closing a gap and writing what had waited goes on as if it had not been") {
  const TemporaryFolder folder;
  const RunFileOptions options = options_of(folder / "a.jsonl", 6);
  const std::string head = header_of(0, 6).dump() + "\n";
  write_file(options.path, content_of(header_of(0, 6), {0, 2}) + line_of(2).substr(0, 9));
  write_file(options.path + ".pending", head + line_of(2) + "\n" + line_of(3) + "\n" + line_of(5) + "\n");
  RunFile file(options_of(options.path, 6, true));
  CHECK(file.next() == 4);
  CHECK(file.held() == std::map<int64_t, std::string>{{5, line_of(5)}});
  CHECK(read_file(options.path) == content_of(header_of(0, 6), {0, 4}));
  complete(file, {0, 6});
  CHECK(read_file(options.path) == content_of(6));
}

TEST_CASE("a run that is killed and resumed again and again loses no line it had and ends as an undisturbed one") {
  constexpr int64_t samples = 300;
  constexpr int rounds = sanitized ? 4 : 30, longest_us = sanitized ? 60000 : 6000;  // of a life that may be too short
  const TemporaryFolder folder;
  std::mt19937 random(7);  // NOLINT(cert-msc51-cpp): the same moments every time, as far as clocks allow
  for (int round = 0; round < rounds; ++round) {
    const RunFileOptions options = options_of(folder / fmt::format("{}.jsonl", round), samples, true);
    const Shared<std::atomic<bool>> appended(samples);
    int lives = 0;
    for (bool done = false; !done; ++lives) {
      const auto seed = random();
      Child child([&options, &appended, seed] {
        std::mt19937 order_random(seed);  // NOLINT(cert-msc51-cpp)
        RunFile file(options);
        std::vector<int64_t> order(samples);
        std::iota(order.begin(), order.end(), 0);
        for (auto part = order.begin(); part != order.end(); part += 20) {
          std::shuffle(part, std::min(part + 60, order.end()), order_random);
        }
        for (const int64_t index : order) {
          if (!file.has(index)) {
            file.append(index, line_of(index));
            appended[static_cast<size_t>(index)] = true;
          }
        }
        file.finish();
      });
      ::usleep(static_cast<useconds_t>(random() % longest_us));
      const int status = child.kill();
      REQUIRE((WIFSIGNALED(status) || WEXITSTATUS(status) == 0));
      done = WIFEXITED(status);
      const RunFile file(options);
      for (int64_t index = 0; index < samples; ++index) {
        if (appended[static_cast<size_t>(index)] && !file.has(index)) {
          FAIL("sample " << index << " was lost");
        }
      }
    }
    REQUIRE(read_file(options.path) == content_of(samples));
    REQUIRE_FALSE(fs::exists(options.path + ".pending"));
  }
}

TEST_CASE("a file that is no run's is not resumed and stays as it is") {
  const TemporaryFolder folder;
  const std::string path = folder / "a.jsonl";
  for (const char* content : {"text\n", "{\"index\":0,\"text\":\"\"}\n", "{}\n", "[\"demask\"]\n", "{\"demask\":\n",
                              "{\"demask\":\"0.2.0\"\n", "\n", "{\"demask\":1,\"x", "{\"demask\":1}}\n"}) {
    write_file(path, content);
    CHECK(resume_error(options_of(path, 3)) ==
          "bad_input: the output '" + path +
              "' cannot be resumed and is left as it is: its first line is not the header of a demask run; name "
              "another --output, or leave out --resume=True to overwrite it");
    CHECK(read_file(path) == content);
  }
}

TEST_CASE("a run with other settings is not resumed: the first that differs is named with both values") {
  const TemporaryFolder folder;
  const RunFileOptions written = options_of(folder / "a.jsonl", 3);
  const auto refusal = [&](const std::function<void(ordered_json&)>& change) {
    {
      RunFile file(written);
      file.append(0, line_of(0));
    }
    const std::string before = read_file(written.path);
    RunFileOptions options = written;
    change(options.header);
    const std::string message = resume_error(options);
    CHECK(read_file(written.path) == before);
    return message;
  };
  const auto expected = [&](const std::string& key, const std::string& there, const std::string& here) {
    return fmt::format(
        "bad_usage: the output '{}' cannot be resumed: its {} is {}, and that of this run is {}; run with the same "
        "settings, or name another --output",
        written.path, key, there, here);
  };
  CHECK(refusal([](ordered_json& h) { h["demask"] = "0.3.0"; }) == expected("demask", "\"0.2.0\"", "\"0.3.0\""));
  CHECK(refusal([](ordered_json& h) { h["samples"] = 4; }) == expected("samples", "3", "4"));
  CHECK(refusal([](ordered_json& h) { h["settings"]["top_p"] = 0.8; }) == expected("top_p", "0.9", "0.8"));
  CHECK(refusal([](ordered_json& h) { h["settings"].erase("top_p"); }) == expected("top_p", "0.9", "absent"));
  CHECK(refusal([](ordered_json& h) { h["settings"]["eta"] = nullptr; }) == expected("eta", "absent", "null"));
  CHECK(refusal([](ordered_json& h) { h["settings"] = 1; }) ==
        expected("settings", R"({"seed":1337,"top_p":0.9,"output":"x.jsonl"})", "1"));
  CHECK(refusal([](ordered_json& h) { h["shard"] = {{"index", 0}}; }) == expected("shard", "absent", R"({"index":0})"));
  CHECK(refusal([](ordered_json& h) { h["checkpoint"] = "b.pt"; }) == "no error");
  CHECK(refusal([](ordered_json& h) { h["settings"].erase("output"); }) == "no error");
}

TEST_CASE("values that JSON writes as null and text that is not UTF-8 do not hinder resuming") {
  const TemporaryFolder folder;
  RunFileOptions options = options_of(folder / "a.jsonl", 2);
  options.header["settings"]["limit"] = std::numeric_limits<double>::infinity();
  options.header["settings"]["prompt"] = "\xff\n";
  {
    RunFile file(options);
    file.append(0, line_of(0));
  }
  options.resume = true;
  RunFile file(options);
  CHECK(file.next() == 1);
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

TEST_CASE("a file much longer than what is read at a time is resumed") {
  const TemporaryFolder folder;
  const RunFileOptions options = options_of(folder / "a.jsonl", 9);
  std::string content = header_of(0, 9).dump() + "\n";
  for (const size_t length : {10U, 3000000U, 1048575U, 0U, 1048576U, 2097152U}) {
    const auto index = std::count(content.begin(), content.end(), '\n') - 1;
    content += fmt::format(R"({{"index":{},"text":"{}"}})", index, std::string(length, 'x')) + "\n";
  }
  write_file(options.path, content + "{\"index\":6,");
  {
    const RunFile file(options_of(options.path, 9, true));
    CHECK(file.next() == 6);
  }
  CHECK(read_file(options.path) == content);
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

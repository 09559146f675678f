// Runs' files that are gone on with, whatever ended the run before.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "output/run_file.h"
#include "tests/support/catch.h"
#include "tests/support/child.h"
#include "tests/support/process.h"
#include "tests/support/sanitized.h"
#include "tests/unit/output/run_files.h"

namespace demask {
namespace resumed_run_file_test {
namespace {

using namespace run_file_test;
using Catch::Matchers::ContainsSubstring;
using testing::Child;
using testing::sanitized;
using testing::Shared;

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

}  // namespace
}  // namespace resumed_run_file_test
}  // namespace demask

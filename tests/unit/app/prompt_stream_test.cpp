#include "app/prompt_stream.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "app/stream_run.h"
#include "core/write_all.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"

using namespace demask;
using Catch::Matchers::ContainsSubstring;
using namespace std::chrono_literals;

namespace {

// A stream on the reading end of a pipe whose writing end is the test's. Prompts that begin with '!' do not fit.
class PipedStream {
 public:
  explicit PipedStream(PromptStreamOptions options = {}, bool is_json = true) {
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    writer_.emplace(ends[1]);
    stop_.emplace(::eventfd(0, EFD_CLOEXEC));
    options.stop_descriptor = stop_->get();
    stream_.emplace(OpenList{Descriptor(ends[0]), "pipe", is_json}, options, [this](Prompt prompt) {
      if (prompt.start_text && prompt.start_text->rfind('!', 0) == 0) {
        fail(ExitCode::bad_usage, "it begins with '!'.");
      }
      WorkEntry entry;
      entry.samples = prompt.num_samples.value_or(1);
      entry.length = 8;
      entry.prompt = std::move(prompt);
      ++prepared_;
      return entry;
    });
  }

  void write(const std::string& text) const { REQUIRE(write_all(writer_->get(), text)); }
  void close() { writer_.reset(); }
  void request_stop() const {
    const uint64_t one = 1;
    REQUIRE(::write(stop_->get(), &one, sizeof one) == sizeof one);
  }
  PromptStream& stream() { return *stream_; }

  // Waits until so many lines are ready or about to be put beside those that are.
  void await_prepared(int count) const {
    while (prepared_ < count) {
      std::this_thread::sleep_for(1ms);
    }
  }
  int prepared() const { return prepared_; }

 private:
  std::atomic<int> prepared_{0};
  std::optional<Descriptor> writer_, stop_;
  std::optional<PromptStream> stream_;
};

std::string line(int id, const std::string& text = "x", int samples = 1) {
  return "{\"id\": " + std::to_string(id) + ", \"start_text\": \"" + text +
         "\", \"num_samples\": " + std::to_string(samples) + "}\n";
}

std::vector<std::string> ids(const std::vector<WorkEntry>& entries) {
  std::vector<std::string> all;
  for (const WorkEntry& entry : entries) {
    all.push_back(entry.prompt.id);
  }
  return all;
}

using Ids = std::vector<std::string>;

}  // namespace

TEST_CASE("A line is given while the pipe stays open, and the next one's samples are numbered behind its own") {
  PipedStream piped;
  piped.write(line(7, "x", 3));
  const std::vector<WorkEntry> first = piped.stream().next(100);
  REQUIRE(ids(first) == Ids{"7"});
  CHECK(first[0].first == 0);
  piped.write(line(8) + "\n" + line(9));
  std::vector<WorkEntry> second = piped.stream().next(100);
  if (second.size() == 1) {
    second.push_back(piped.stream().next(100).at(0));
  }
  REQUIRE(ids(second) == Ids{"8", "9"});
  CHECK(second[0].first == 3);
  CHECK(second[1].first == 4);
  CHECK(second[1].prompt.line == 4);  // after the blank one
  piped.close();
  CHECK(piped.stream().next(100).empty());
  const StreamEnd end = piped.stream().end();
  CHECK_FALSE(end.error);
  CHECK(end.waiting.empty());
}

TEST_CASE("Lines wait for each other no longer than they are told to, and not where they fill a batch") {
  PromptStreamOptions options;
  options.batch_wait = 60s;
  PipedStream patient(options);
  patient.write(line(1));
  patient.await_prepared(1);
  std::thread late([&patient] { patient.write(line(2, "x", 5)); });
  CHECK(ids(patient.stream().next(6)) == Ids{"1", "2"});  // six samples are enough
  late.join();
  patient.write(line(3));
  patient.close();
  CHECK(ids(patient.stream().next(100)) == Ids{"3"});  // nothing more can come
  options.batch_wait = 20ms;
  PipedStream hasty(options);
  hasty.write(line(1));
  CHECK(ids(hasty.stream().next(100)) == Ids{"1"});
}

TEST_CASE("A line that is bad ends the list after those before it, or is left out") {
  for (const std::string& bad : {std::string("{\"id\": 2\n"), line(2, "!"), std::string("{\"id\": 2, \"x\": 1}\n")}) {
    CAPTURE(bad);
    PipedStream strict;
    strict.write(line(1) + bad + line(3));
    CHECK(ids(strict.stream().next(100)) == Ids{"1"});
    CHECK(strict.stream().next(100).empty());
    const StreamEnd end = strict.stream().end();
    REQUIRE(end.error);
    CHECK(end.error->code() == ExitCode::bad_input);
    CHECK_THAT(end.error->what(), ContainsSubstring("pipe:2: ") && ContainsSubstring("--on_error=skip"));

    PromptStreamOptions options;
    options.skip_bad = true;
    PipedStream lenient(options);
    lenient.write(line(1) + bad + line(3));
    lenient.close();
    lenient.await_prepared(2);
    std::vector<WorkEntry> entries = lenient.stream().next(100);
    CHECK(ids(entries) == Ids{"1", "3"});
    CHECK(entries.back().first == 1);
    CHECK(lenient.stream().next(100).empty());
    CHECK(lenient.stream().end().bad_lines == 1);
  }
}

TEST_CASE("Half a line at the end is one that says so where it is no whole JSON object") {
  PipedStream torn;
  torn.write(line(1) + R"({"id": 2, "start_te)");
  torn.close();
  CHECK(ids(torn.stream().next(100)) == Ids{"1"});
  CHECK(torn.stream().next(100).empty());
  const StreamEnd end = torn.stream().end();
  REQUIRE(end.error);
  CHECK_THAT(end.error->what(), ContainsSubstring("pipe:2: the input ended within the line"));
  PipedStream whole;
  whole.write(R"({"id": 1, "start_text": ""})");
  whole.close();
  CHECK(ids(whole.stream().next(100)) == Ids{"1"});
  PipedStream text({}, /*is_json=*/false);
  text.write("\nRO");
  text.close();
  text.await_prepared(2);
  CHECK(text.stream().next(100).back().prompt.start_text == "RO");
  PipedStream empty;
  empty.close();
  CHECK(empty.stream().next(100).empty());
  CHECK_THAT(empty.stream().end().error.value().what(), ContainsSubstring("'pipe' has no prompts"));
}

TEST_CASE("Whoever writes more than is drawn has to wait, and memory does not grow") {
  PromptStreamOptions options;
  options.most_lines = 4;
  PipedStream piped(options);
  constexpr int lines = 5000;
  std::thread writer([&piped] {
    for (int k = 1; k <= lines; ++k) {
      piped.write(line(k));
    }
    piped.close();
  });
  piped.await_prepared(5);  // four wait, and one to be put beside them
  CHECK(piped.prepared() == 5);
  int next = 1;
  for (std::vector<WorkEntry> some = piped.stream().next(1); !some.empty(); some = piped.stream().next(1)) {
    CHECK(some.size() <= 4);
    for (const WorkEntry& entry : some) {
      CHECK(entry.prompt.line == next);
      CHECK(entry.first == next - 1);
      ++next;
    }
  }
  writer.join();
  CHECK(next == lines + 1);
}

TEST_CASE("A line of 100 MB is told of by the limit before it has ended, and passed over in little memory") {
  const auto peak_kib = [] {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
  };
  const long before = peak_kib();
  const std::string piece(size_t{1} << 20, 'x');
  PromptStreamOptions options;
  options.skip_bad = true;
  PipedStream lenient(options);
  for (int k = 0; k < 100; ++k) {
    lenient.write(piece);
  }
  lenient.write("\n" + line(2));
  CHECK(ids(lenient.stream().next(100)) == Ids{"2"});
  CHECK(peak_kib() - before < 20 * 1024);

  PipedStream strict;
  strict.write(piece + piece.substr(0, 1000));  // and no end
  CHECK(strict.stream().next(100).empty());
  const StreamEnd end = strict.stream().end();
  CHECK_THAT(end.error.value().what(),
             ContainsSubstring("pipe:1: the line has more than 1048576 bytes: no more are allowed"));
}

TEST_CASE("Where it is asked to stop, the stream names every line that was read and not given") {
  PromptStreamOptions options;
  options.most_lines = 2;
  PipedStream piped(options);
  piped.write(line(1) + line(2) + line(3) + line(4) + R"({"id": 5, )");
  piped.await_prepared(3);
  piped.request_stop();
  CHECK(piped.stream().end().waiting.in_words() == "1-5");
  PipedStream idle;
  idle.write(line(1));
  CHECK(idle.stream().next(1).size() == 1);
  idle.request_stop();
  CHECK(idle.stream().next(1).empty());  // it waits for nothing any more
  CHECK(idle.stream().end().waiting.empty());
}

TEST_CASE("What needs the whole list is refused for one that is read as it comes") {
  CHECK_NOTHROW(check_needs_no_whole_list(Config{}, "pipe"));
  std::vector<std::pair<std::string, Config>> cases(4);
  cases[0] = {"shard", {}};
  cases[0].second.shard = "0/1";
  cases[1] = {"resume", {}};
  cases[1].second.resume = true;
  cases[2] = {"trace", {}};
  cases[2].second.trace = "t.json";
  cases[3] = {"report", {}};
  cases[3].second.report = "r.html";
  for (const auto& [key, config] : cases) {
    CAPTURE(key);
    CHECK_THAT(
        demask::testing::message_of([&asked = config] { check_needs_no_whole_list(asked, "pipe"); }),
        ContainsSubstring(key + " needs the whole list, and 'pipe' is read as it comes: put the list into a file"));
  }
}

TEST_CASE("Line numbers in words are ranges") {
  LineRanges lines;
  CHECK(lines.empty());
  for (const int64_t one : {2, 3, 4, 9}) {
    lines.add(one);
  }
  LineRanges more;
  more.add(10);
  more.add(12);
  lines.append(more);
  CHECK(lines.in_words() == "2-4, 9-10, 12");
}

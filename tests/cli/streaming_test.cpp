// Prompts that come through a pipe, by the real program, and the examples of docs/streaming.md.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "tests/cli/refusal.h"
#include "tests/support/recipes.h"

using namespace demask::testing;
using nlohmann::json;

namespace streaming_test {
namespace {

const char* const mixed_list = R"({"id": "two", "start_text": "ROMEO:", "num_samples": 2})"
                               "\n\n"
                               R"({"id": 17, "infill_text": "JULIET: ########, my lord."})"
                               "\n"
                               R"({"id": "gap", "infill": ["ROMEO: ", {"gap": [2, 9]}, " no."]})"
                               "\n"
                               R"({"id": "ids", "tokens": [30, 27, 25, 17, 27, 10], "sequence_length": 11})"
                               "\n"
                               R"({"id": "own", "start_text": "KING", "seed": 7, "num_samples": 2})"
                               "\n"
                               R"({"id": "pattern", "start_text": "to ", "pattern": "[a-z ]+"})"
                               "\n";

// A folder with demask on its path, as short and exact as a test wants it.
class Site {
 public:
  Site() {
    std::filesystem::create_directory(folder_ / "bin");
    const std::string source = DEMASK_SOURCE_DIR;
    write_file(folder_ / "bin/demask",
               "#!/bin/sh\nexec '" DEMASK_BINARY
               "' --device=cpu --dtype=float32 --sequence_length=24 --diffusion_iterations=2 --out_dir='" +
                   source + "/out' --data_dir='" + source + "/data' \"$@\"\n");
    std::filesystem::permissions(folder_ / "bin/demask", std::filesystem::perms(0755));
  }

  ProcessResult run(const std::vector<std::string>& command) const {
    ProcessOptions options;
    options.directory = folder_.path();
    options.environment = {{"PATH", folder_ / "bin:" + std::string(std::getenv("PATH"))}};
    options.timeout_s = 120;
    return run_process(command, options);
  }
  ProcessResult bash(const std::string& commands) const { return run({"bash", "-c", commands}); }

  std::string operator/(const std::string& name) const { return folder_ / name; }

 private:
  TemporaryFolder folder_;
};

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) {
    lines.push_back(line);
  }
  return lines;
}

std::vector<std::string> sorted(std::vector<std::string> lines) {
  std::sort(lines.begin(), lines.end());
  return lines;
}

}  // namespace

TEST_CASE(
    "A list through a pipe gives the bytes that it gives as a file, in the order of the list or as they are done") {
  const Site site;
  write_file(site / "list.jsonl", mixed_list);
  REQUIRE(site.bash("demask --prompts=list.jsonl --output=file.jsonl").exit_code == done);
  std::vector<std::string> expected = lines_of(read_file(site / "file.jsonl"));
  expected.erase(expected.begin());  // the run's
  REQUIRE(expected.size() == 8);

  const ProcessResult whole = site.bash("demask --prompts=list.jsonl --output=-");
  CHECK(lines_of(whole.out) == expected);
  const ProcessResult piped = site.bash("cat list.jsonl | demask --prompts=- --output=-");
  CAPTURE(piped.err);
  CHECK(piped.exit_code == done);
  CHECK(lines_of(piped.out) == expected);
  CHECK(piped.err.empty());
  const ProcessResult at_once =
      site.bash("cat list.jsonl | demask --prompts=- --output=- --order=done --batch_size=1 --batch_wait_ms=1000");
  CHECK(sorted(lines_of(at_once.out)) == sorted(expected));

  REQUIRE(site.bash("cat list.jsonl | demask --prompts=/dev/stdin --output=stream.jsonl > text").exit_code == done);
  std::vector<std::string> stream = lines_of(read_file(site / "stream.jsonl"));
  CHECK_FALSE(json::parse(stream.at(0)).contains("samples"));
  stream.erase(stream.begin());
  CHECK(stream == expected);
  CHECK(contains(read_file(site / "text"), "\nSAMPLE 8 (prompt \"pattern\")\n"));
}

TEST_CASE("Texts are scored as they come") {
  const Site site;
  write_file(site / "texts.txt", "To be, or not to be\nthat is the question\n");
  const ProcessResult whole = site.bash("demask --score=texts.txt --score_draws=2 --show_progress=False");
  REQUIRE(whole.exit_code == done);
  const ProcessResult piped = site.bash("cat texts.txt | demask --score=- --score_draws=2 --output=-");
  CHECK(piped.out == whole.out);
  const auto without_rate = [](const std::string& err) {
    return err.substr(0, err.find("Notice: scored 39 tokens in "));
  };
  CHECK(contains(piped.err, "Notice: scored 39 tokens in "));
  CHECK(without_rate(piped.err) == without_rate(whole.err));
}

TEST_CASE("A line is answered while the pipe stays open, and a signal while it waits ends the run with nothing lost") {
  const Site site;
  const ProcessResult result = site.bash(R"(
mkfifo list.jsonl
demask --prompts=list.jsonl --output=- > all 2> errors & process=$!
exec 3> list.jsonl
echo '{"id": 1, "start_text": "A"}' >&3
until [ -s all ]; do sleep 0.02; done
printf '{"id": 2, "sta' >&3
sleep 0.2
kill -TERM $process
wait $process; echo $?
cat all errors)");
  CAPTURE(result.out, result.err);
  const std::vector<std::string> lines = lines_of(result.out);
  REQUIRE(lines.size() >= 2);
  CHECK(lines[0] == "143");
  CHECK(json::parse(lines[1])["id"] == 1);
  CHECK(contains(result.out, "interrupted after 1 samples: these lines of list.jsonl were read"));
  CHECK(contains(result.out, "not answered, or not with all their samples: 2."));
}

TEST_CASE("Of lines that were read when a signal came in a draw, each is answered or named") {
  const Site site;
  const ProcessResult result = site.bash(R"(
mkfifo list.jsonl
demask --prompts=list.jsonl --output=- --batch_size=1 --sequence_length=256 --diffusion_iterations=20 > all 2> errors &
process=$!
exec 3> list.jsonl
for id in 1 2 3 4 5 6; do echo "{\"id\": $id, \"start_text\": \"A\"}"; done >&3
until [ -s all ]; do sleep 0.02; done
kill -TERM $process
wait $process; echo $?
wc -l < all; tail -n 1 errors)");
  CAPTURE(result.out, result.err);
  const std::vector<std::string> lines = lines_of(result.out);
  REQUIRE(lines.size() == 3);
  CHECK(lines[0] == "143");
  const int answered = std::stoi(lines[1]);
  REQUIRE(answered >= 1);
  REQUIRE(answered < 6);
  const std::string unanswered = answered == 5 ? "6" : std::to_string(answered + 1) + "-6";
  CHECK(contains(lines[2], "interrupted after " + lines[1] + " samples: these lines of list.jsonl"));
  CHECK(contains(lines[2], "samples: " + unanswered + "."));
}

TEST_CASE("Whose reader has gone ends by SIGPIPE, and what needs the whole list is refused before a model is loaded") {
  const Site site;
  const ProcessResult gone = site.bash(
      "(while echo '{\"id\": 1, \"start_text\": \"\"}'; do sleep 0.01; done) 2> /dev/null | demask --prompts=- "
      "--output=- | "
      "head -n 1 > first; echo ${PIPESTATUS[1]}");
  CHECK(gone.out == "141\n");
  const ProcessResult result =
      site.bash("echo A | demask --prompts=- --checkpoint_name=none.pt --shard=0/2 --output=-");
  CHECK(result.exit_code == bad_usage);
  CHECK(contains(result.err, "shard needs the whole list, and 'standard input' is read as it comes"));
}

TEST_CASE("A bad line ends the run after those before it are answered, or is left out and counted") {
  const Site site;
  write_file(site / "list.txt", "A\n\xff\nB\n");
  const ProcessResult stops = site.bash("cat list.txt | demask --prompts=- --output=-");
  CHECK(stops.exit_code == bad_input);
  CHECK(lines_of(stops.out).size() == 1);
  CHECK(contains(stops.err, "demask: standard input:2: not UTF-8 at byte 1"));
  const ProcessResult skips = site.bash("cat list.txt | demask --prompts=- --output=- --on_error=skip");
  CHECK(skips.exit_code == failed);
  CHECK(lines_of(skips.out).size() == 2);
  CHECK(contains(skips.err, "Notice: left out: standard input:2: not UTF-8"));
  CHECK(contains(skips.err, "demask: 1 lines of standard input were left out"));
}

TEST_CASE("The documentation's scripts get an answer to each line") {
  const Site site;
  REQUIRE(recipe_names("streaming.md") == std::vector<std::string>{"coprocess", "python"});
  const ProcessResult bash = site.bash("set -e\n" + recipe("streaming.md", "coprocess"));
  CAPTURE(bash.err);
  CHECK(bash.exit_code == done);
  CHECK(bash.out.rfind("ROMEO:", 0) == 0);
  CHECK(contains(bash.out, "\nJULIET:"));
  const ProcessResult python = site.run({"python3", "-c", recipe("streaming.md", "python")});
  CAPTURE(python.err);
  CHECK(python.exit_code == done);
  CHECK(python.out == bash.out);
}

}  // namespace streaming_test

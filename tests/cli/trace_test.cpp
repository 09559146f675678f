// Traces and reports as a user asks for them.
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/cli/refusal.h"
#include "tests/support/sanitized.h"

using namespace demask::testing;
using nlohmann::json;

namespace trace_test {
namespace {

using Arguments = std::vector<std::string>;

ProcessResult run(const Arguments& arguments) {
  ProcessResult result = demask::testing::demask(quick(arguments));
  CAPTURE(arguments, result.err);
  CHECK(result.exit_code == done);
  return result;
}

// All but the last line, which has the time.
std::string samples_of(const std::string& output) {
  return output.substr(0, output.rfind("Generated"));
}

}  // namespace

TEST_CASE("A trace changes no sample, has the first by default, and its command draws the samples again") {
  const TemporaryFolder folder;
  std::vector<Arguments> all = {
      {"--sequence_length=48", "--diffusion_iterations=6", "--num_samples=3", "--start_text='O it\\'s \"$HOME\"'",
       "--unknown_chars=skip"},
      {"--sampling_method=standard", "--max_new_tokens=30", "--start_text=KING", "--num_samples=2"},
      {"--strategy=threshold", "--threshold=0.5", "--sequence_length=40", "--block_length=16"},
      {"--strategy=best", "--forwards=8", "--sequence_length=40", "--first_sample=5", "--seed=-1"},
      {"--infill_text=ROMEO: ########, my lord.", "--masking_ratios=[0.9, 0.5, 0.1]", "--temperature=0"},
      // Defaults that say something, because they were given.
      {"--strategy=maskgit", "--schedule_type=linear", "--sequence_length=40", "--diffusion_iterations=6"},
      {"--sampling_method=standard", "--max_new_tokens=30", "--temperature=0.3", "--std_temperature=0.8"}};
  if (sanitized) {
    all.resize(3);
  }
  for (const std::string& device : devices()) {
    for (const Arguments& settings : all) {
      CAPTURE(device, settings);
      const std::string trace_path = folder / "trace.json", report_path = folder / "report.html";
      Arguments traced = settings;
      traced.insert(traced.begin(), "--device=" + device);
      const bool own_seed = std::find(settings.begin(), settings.end(), "--seed=-1") != settings.end();
      const std::string plain = own_seed ? "" : run(traced).out;
      traced.insert(traced.end(), {"--trace=" + trace_path, "--report=" + report_path});
      const std::string out = run(traced).out;
      if (!own_seed) {
        CHECK(samples_of(out) == samples_of(plain));
      }
      const json trace = json::parse(read_file(trace_path));
      REQUIRE(trace["samples"].size() == 1);
      CHECK(trace["samples"][0]["index"] == (own_seed ? 5 : 0));
      CHECK(read_file(report_path).find("<!DOCTYPE html>") == 0);
      // In a shell, with what it leaves at the defaults.
      const std::string command = trace["command"];
      REQUIRE(command.substr(0, 7) == "demask ");
      ProcessOptions here;
      here.directory = DEMASK_SOURCE_DIR;
      const ProcessResult again =
          run_process({"/bin/sh", "-c", DEMASK_BINARY + command.substr(6) + " --show_progress=False"}, here);
      CAPTURE(command, again.err);
      CHECK(samples_of(again.out) == samples_of(out));
      std::filesystem::remove(trace_path);
      std::filesystem::remove(report_path);
    }
  }
}

TEST_CASE("The documented reader ends with the sample's text") {
  const TemporaryFolder folder;
  run({"--sequence_length=48", "--diffusion_iterations=4", "--trace=" + (folder / "trace.json"),
       "--output=" + (folder / "samples.jsonl")});
  const std::string document = read_file(DEMASK_SOURCE_DIR "/docs/trace.md"), fence = "```python\n";
  const size_t start = document.find(fence) + fence.size();
  REQUIRE(start > fence.size());
  ProcessOptions options;
  options.directory = folder.path();
  const ProcessResult read =
      run_process({DEMASK_TEST_PYTHON, "-c", document.substr(start, document.find("```", start) - start)}, options);
  CAPTURE(read.err);
  const std::string text = read_json_lines(folder / "samples.jsonl").at(0)["text"].get<std::string>() + "\n";
  REQUIRE(read.out.size() > text.size());
  CHECK(read.out.substr(read.out.size() - text.size()) == text);
  CHECK(contains(read.out, "#"));
}

TEST_CASE("The samples asked for are traced, and none but those of the run can be") {
  const TemporaryFolder folder;
  const std::string path = folder / "trace.json";
  run({"--num_samples=6", "--batch_size=4", "--first_sample=10", "--trace=" + path, "--trace_samples=[15, 11]"});
  const json trace = json::parse(read_file(path));
  REQUIRE(trace["samples"].size() == 2);
  CHECK(trace["samples"][0]["index"] == 11);
  CHECK(trace["samples"][1]["index"] == 15);
  check_refused({"--num_samples=6", "--trace=" + path, "--trace_samples=[6]"}, bad_usage, {"trace_samples", "0 to 5"});
  check_refused({"--trace=" + path, "--trace_samples=[0.5]"}, bad_usage, {"trace_samples", "whole numbers"});
  check_refused({"--trace=" + path, "--trace_samples=3"}, bad_usage, {"trace_samples", "a list"});
  CHECK(json::parse(read_file(path)) == trace);
}

TEST_CASE("A trace, report or comparison that cannot be is refused before sampling") {
  const TemporaryFolder folder;
  check_refused({"--trace=" + (folder / "absent/trace.json")}, failed, {"absent/trace.json", "No such file"});
  check_refused({"--report=" + folder.path()}, failed, {folder.path(), "folder"});
  check_refused({"--trace_samples=[0]"}, bad_usage, {"trace_samples", "--trace="});
  check_refused({"--compare=" + (folder / "other.json")}, bad_usage, {"compare", "--report="});
  check_refused({"--trace=" + (folder / "same"), "--report=" + (folder / "same")}, bad_usage, {"trace", "report"});
  const std::string report = folder / "report.html", other = folder / "other.json";
  check_refused({"--report=" + report, "--compare=" + other}, bad_input, {other, "No such file"});
  write_file(other, "{\"text\": \"no trace\"}\n");
  check_refused({"--report=" + report, "--compare=" + other}, bad_input, {other, "no trace"});
  write_file(other, R"({"format": "demask trace", "version": 99})");
  check_refused({"--report=" + report, "--compare=" + other}, bad_input, {other, "version 99", "version 1"});
  CHECK(names_in(folder.path()) == std::vector<std::string>{"other.json"});
}

TEST_CASE("A report shows another run's trace beside its own") {
  const TemporaryFolder folder;
  run({"--strategy=confidence", "--diffusion_iterations=4", "--trace=" + (folder / "other.json")});
  run({"--report=" + (folder / "report.html"), "--compare=" + (folder / "other.json")});
  const std::string page = read_file(folder / "report.html");
  CHECK(page.find("demask: remask, 2 iterations and confidence, 4 iterations</title>") != std::string::npos);
}

TEST_CASE("Each shard traces its own samples, and a run that goes on those that it draws") {
  const TemporaryFolder folder;
  check_refused({"--shard=0/2", "--num_samples=4", "--trace=" + (folder / "trace.json")}, bad_usage, {"{shard}"});
  const std::string output = folder / "samples-{shard}.jsonl", traces = folder / "trace-{shard}.json";
  const Arguments shard = {"--num_samples=4", "--output=" + output, "--trace=" + traces, "--shard=1/2"};
  run(shard);
  const std::string text = read_file(folder / "trace-1.json");
  CHECK(json::parse(text)["samples"][0]["index"] == 2);
  Arguments again = shard;
  again.push_back("--resume=True");
  const ProcessResult nothing_left = run(again);
  CHECK(contains(nothing_left.err, "no trace is written"));
  CHECK(read_file(folder / "trace-1.json") == text);
  Arguments others = shard;
  others.insert(others.end(), {"--trace_samples=[0]"});
  CHECK(contains(run(others).err, "no trace is written"));
}

TEST_CASE("A prompt of a list is traced with its name") {
  const TemporaryFolder folder;
  write_file(folder / "prompts.jsonl", R"({"id": "</script>", "start_text": "RO", "num_samples": 2})"
                                       "\n"
                                       R"({"id": 4, "infill_text": "KING: ######"})"
                                       "\n");
  run({"--prompts=" + (folder / "prompts.jsonl"), "--trace=" + (folder / "trace.json"), "--trace_samples=[1, 2]"});
  const json samples = json::parse(read_file(folder / "trace.json"))["samples"];
  CHECK(samples[0]["id"] == "</script>");
  CHECK(samples[0]["sample"] == 1);
  CHECK(samples[0]["given"] == json({{0, 2}}));
  CHECK(samples[1]["id"] == 4);
  CHECK(samples[1]["given"] == json({{0, 6}}));
}

TEST_CASE("An interrupted run writes the traces of what it drew") {
  const TemporaryFolder folder;
  ProcessOptions interrupted;
  interrupted.interrupt_on_stderr = "Samples 2-2 of 50";
  const ProcessResult result = demask::testing::demask(
      quick({"--num_samples=50", "--batch_size=1", "--sequence_length=64", "--diffusion_iterations=10",
             "--show_progress=True", "--trace=" + (folder / "trace.json"), "--output=" + (folder / "samples.jsonl")}),
      interrupted);
  CHECK(result.exit_code == was_interrupted);
  CHECK(json::parse(read_file(folder / "trace.json"))["samples"][0]["index"] == 0);
}

}  // namespace trace_test

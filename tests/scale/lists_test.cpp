// Lists of prompts: samples as each prompt gives them alone, and lines that cannot be used.
#include <filesystem>
#include <string>
#include <vector>

#include "tests/scale/runs.h"

using namespace demask::testing;
using nlohmann::json;

namespace {

const char* const mixed_standard_prompts =
    R"({"id": "short", "start_text": "O", "num_samples": 2, "max_new_tokens": 30})"
    "\n"
    R"({"id": "long", "start_text": "KING RICHARD III:\nNow is the winter of", "num_samples": 3})"
    "\n"
    R"({"id": 3, "start_text": "", "num_samples": 2})"
    "\n"
    R"({"id": "own seed", "start_text": "JULIET:", "seed": 99, "num_samples": 2, "max_new_tokens": 3})"
    "\n";

// What draws one sample of a list by itself.
Arguments alone(const json& prompt, const json& sample) {
  Arguments arguments = {"--num_samples=1", "--seed=" + sample["seed"].dump()};
  const json& number = prompt.contains("seed") ? sample["sample"] : sample["index"];
  arguments.push_back("--first_sample=" + number.dump());
  for (const char* key : {"start_text", "infill_text", "sequence_length", "max_new_tokens"}) {
    if (prompt.contains(key)) {
      const std::string value = prompt[key].is_string() ? prompt[key].get<std::string>() : prompt[key].dump();
      arguments.push_back("--" + std::string(key) + "=" + value);
    }
  }
  return arguments;
}

void check_each_as_alone(const std::string& prompts, const Arguments& settings) {
  const TemporaryFolder folder;
  write_file(folder / "prompts.jsonl", prompts);
  const Arguments base = join({"--device=cpu", "--dtype=float32", "--show_progress=False"}, settings);
  run_done(join(base, {"--prompts=" + (folder / "prompts.jsonl"), "--output=" + (folder / "all.jsonl")}));
  const std::vector<json> samples = read_json_lines(folder / "all.jsonl");
  size_t next = 0;
  for (const json& prompt : read_objects(folder / "prompts.jsonl")) {
    for (int64_t number = 0; number < prompt.value("num_samples", 1); ++number, ++next) {
      REQUIRE(next < samples.size());
      const json& sample = samples[next];
      CAPTURE(sample.dump(-1, ' ', false, json::error_handler_t::replace));
      CHECK(sample["index"] == next);
      CHECK(sample["id"] == prompt["id"]);
      CHECK(sample["sample"] == number);
      if (sanitized && next % 4 != 0) {
        continue;
      }
      run_done(join(join(base, alone(prompt, sample)), {"--output=" + (folder / "one.jsonl")}));
      const json one = read_json_lines(folder / "one.jsonl").at(0);
      CHECK(one["tokens"] == sample["tokens"]);
      CHECK(one["self_confidence"] == sample["self_confidence"]);
    }
  }
  CHECK(next == samples.size());
}

std::string without_blank_lines(std::string text) {
  for (size_t at = text.find("\n\n"); at != std::string::npos; at = text.find("\n\n")) {
    text.erase(at, 1);
  }
  return text;
}

}  // namespace

TEST_CASE("Prompts of different lengths in one run give the samples that each gives alone, by diffusion") {
  const std::string prompts = without_blank_lines(mixed_prompts);
  check_each_as_alone(prompts, {"--sequence_length=48", "--diffusion_iterations=6", "--batch_size=5"});
  check_each_as_alone(prompts, {"--sequence_length=48", "--strategy=best", "--forwards=10"});
}

TEST_CASE("Prompts of different lengths in one run give the samples that each gives alone, by standard sampling") {
  check_each_as_alone(mixed_standard_prompts, {"--sampling_method=standard", "--max_new_tokens=12"});
}

TEST_CASE("Lines of text are prompts too, from a file or standard input") {
  const TemporaryFolder folder;
  write_file(folder / "prompts.txt", "ROMEO:\nJULIET:\n\nKING\n");
  const Arguments settings = {"--device=cpu", "--dtype=float32", "--sequence_length=24", "--diffusion_iterations=2",
                              "--show_progress=False"};
  run_done(join(settings, {"--prompts=" + (folder / "prompts.txt"), "--output=" + (folder / "a.jsonl")}));
  const std::vector<json> samples = read_json_lines(folder / "a.jsonl");
  REQUIRE(samples.size() == 4);
  CHECK(samples[1]["id"] == 2);
  CHECK(samples[1]["text"].get<std::string>().rfind("JULIET:", 0) == 0);
  const std::string piped = in_shell(join(settings, {"--prompts=-", "--output=" + (folder / "b.jsonl")}));
  ProcessOptions options;
  options.directory = DEMASK_SOURCE_DIR;
  REQUIRE(run_process({"/bin/sh", "-c", piped + " < " + (folder / "prompts.txt")}, options).exit_code == done);
  CHECK(read_json_lines(folder / "b.jsonl") == samples);
}

TEST_CASE(
    "Lines of a list that cannot be used are refused before anything is written, or left out and told at the end") {
  const TemporaryFolder folder;
  const std::string list = folder / "prompts.jsonl", output = folder / "samples.jsonl";
  const Arguments job = {"--device=cpu",          "--sequence_length=24", "--diffusion_iterations=2",
                         "--show_progress=False", "--prompts=" + list,    "--output=" + output};
  const std::string good = R"({"id": "a", "start_text": "ROMEO:"})"
                           "\n";
  const std::string last = R"({"id": "z", "start_text": "KING"})"
                           "\n";
  // What the list's reader finds, what the model's vocabulary says, what no memory could hold.
  for (const auto& [line, reason] : std::vector<std::pair<std::string, std::string>>{
           {"{", "not valid JSON"},
           {R"({"id": "b", "start_text": "caf\u00e9"})", "not in the vocabulary"},
           {std::string(100 << 20, 'x'), "104857600 bytes"}}) {
    write_file(list, good + line + "\n" + last);
    const ProcessResult stopped = demask::testing::demask(job);
    CAPTURE(reason, stopped.err);
    CHECK(stopped.exit_code == bad_input);
    CHECK(contains(stopped.err, list + ":2: "));
    CHECK(contains(stopped.err, reason));
    CHECK(contains(stopped.err, "--on_error=skip"));
    CHECK(stopped.err.size() < 1000);
    CHECK((sanitized || stopped.peak_memory_kib < 700 * 1024));
    CHECK_FALSE(std::filesystem::exists(output));
  }
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"nonsense", "not valid JSON"},
      {R"({"id": "a", "start_text": "again"})", "line 1's already"},
      {R"({"id": "b", "start_text": "caf\u00e9"})", "not in the vocabulary"},
      {R"({"id": "c", "infill_text": "no mask"})", "nothing to fill"},
      {R"({"id": "d", "start_text": "This is longer than the text is"})", "leaves nothing to fill"},
      {R"({"id": "e", "start_text": "x", "sequence_length": 5000})", "reads at most"},
      {R"({"id": "f", "start_text": "x", "max_new_tokens": 5})", "sequence_length"},
      {"{\"id\": \"\xff\"}", "not UTF-8"}};
  std::string lines = good;
  for (const auto& [line, reason] : bad) {
    lines += line + "\n";
  }
  write_file(list, lines + last);
  const ProcessResult skipped = demask::testing::demask(join(job, {"--on_error=skip"}));
  CAPTURE(skipped.err);
  CHECK(skipped.exit_code == failed);
  CHECK(contains(skipped.err, std::to_string(bad.size()) + " lines of " + list + " were left out"));
  for (size_t k = 0; k < bad.size(); ++k) {
    const std::string place = list + ":" + std::to_string(k + 2) + ": ";
    CAPTURE(place);
    REQUIRE(contains(skipped.err, place));
    const size_t start = skipped.err.find(place);
    CHECK(contains(skipped.err.substr(start, skipped.err.find('\n', start) - start), bad[k].second));
  }
  REQUIRE(read_json_lines(output).size() == 2);
  CHECK(read_json_lines(output)[1]["id"] == "z");
}

TEST_CASE("A list opens no files: FILE: is text in it") {
  const TemporaryFolder folder;
  write_file(folder / "secret", "KING");
  write_file(folder / "prompts.txt", "FILE:" + (folder / "secret") + "\n");
  const ProcessResult result = demask::testing::demask(
      quick({"--prompts=" + (folder / "prompts.txt"), "--sequence_length=100", "--unknown_chars=skip"}));
  CHECK(result.exit_code == done);
  CHECK(contains(result.out, "FILE:tmpdemask"));  // slashes are not in the vocabulary
  CHECK_FALSE(contains(result.out, "KING\n"));
}

TEST_CASE("A list that is empty, not there or beside another prompt is refused") {
  const TemporaryFolder folder;
  write_file(folder / "empty.jsonl", "");
  write_file(folder / "blank.jsonl", "\n\n");
  write_file(folder / "good.txt", "ROMEO:\n");
  check_refused({"--prompts=" + (folder / "empty.jsonl")}, bad_input, {"empty.jsonl"});
  check_refused({"--prompts=" + (folder / "blank.jsonl")}, bad_input, {"blank.jsonl", "no prompts"});
  check_refused({"--prompts=" + (folder / "absent.jsonl")}, bad_input, {"absent.jsonl"});
  check_refused({"--prompts=" + (folder / "good.csv")}, bad_usage, {"good.csv", ".jsonl"});
  check_refused({"--prompts=" + (folder / "good.txt"), "--start_text=x"}, bad_usage, {"start_text"});
  check_refused({"--prompts=" + (folder / "good.txt"), "--first_sample=3"}, bad_usage, {"first_sample=3"});
  check_refused({"--on_error=skip"}, bad_usage, {"--prompts"});
}

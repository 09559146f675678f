// Every strategy as a user starts it: what it fills, what it costs, what it refuses.
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/cli/refusal.h"
#include "tests/support/sanitized.h"

using namespace demask::testing;
using nlohmann::json;

namespace strategy_test {
namespace {

constexpr int length = 48;

using Arguments = std::vector<std::string>;

// A strategy, or a kind of one.
struct Variant {
  std::string strategy;
  Arguments more;
  // The confidence_source that it takes and that is not its default; empty where it takes none.
  std::string other_source;

  Arguments arguments() const {
    Arguments all = {"--strategy=" + strategy};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
};

std::vector<Variant> variants() {
  const std::string by_model = "--remasking_checkpoint_name=remasking.pt";
  return {{"remask", {}, "draw"},
          {"remask", {by_model}, ""},
          {"best", {}, "rescore"},
          {"confidence", {}, "rescore"},
          {"random", {}, ""},
          {"left_to_right", {}, ""},
          {"margin", {}, "rescore"},
          {"entropy", {}, "rescore"},
          {"ancestral", {}, ""},
          {"maskgit", {}, "rescore"},
          {"threshold", {}, "rescore"},
          {"factor", {}, "rescore"},
          {"entropy_bound", {}, "rescore"},
          {"klass", {}, "rescore"},
          {"remdm", {"--remdm=cap"}, ""},
          {"remdm", {"--remdm=rescale"}, ""},
          {"remdm", {"--remdm=conf"}, ""},
          {"remdm", {"--remdm=loop"}, ""},
          {"planner", {}, "rescore"},
          {"planner", {by_model}, ""}};
}

Arguments join(Arguments first, const Arguments& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

// Side by side, on a core each: most of so short a run is its start. Arguments after the common ones override them.
std::vector<ProcessResult> run_side_by_side(const std::vector<Arguments>& runs) {
  std::vector<ProcessResult> results(runs.size());
  std::atomic<size_t> next{0};
  const auto work = [&] {
    ProcessOptions options;
    options.environment = {{"OMP_NUM_THREADS", "1"}};
    for (size_t run = next++; run < runs.size(); run = next++) {
      results[run] =
          demask::testing::demask(join({"--checkpoint_name=diffusion.pt", "--sequence_length=" + std::to_string(length),
                                        "--device=cpu", "--dtype=float32", "--show_progress=False"},
                                       runs[run]),
                                  options);
    }
  };
  std::vector<std::thread> workers;
  for (unsigned i = 0; i < std::clamp(std::thread::hardware_concurrency(), 1U, 8U); ++i) {
    workers.emplace_back(work);
  }
  for (std::thread& worker : workers) {
    worker.join();
  }
  return results;
}

struct Outcome {
  json header;
  std::vector<json> samples;
  int forwards = 0;  // that the last line reports
};

int reported_forwards(const std::string& out) {
  const std::string after = " forwards)\n";
  REQUIRE(contains(out, after));
  const size_t end = out.rfind(after), start = out.rfind(' ', end - 1) + 1;
  return std::stoi(out.substr(start, end - start));
}

std::vector<Outcome> sample_all(std::vector<Arguments> runs) {
  const TemporaryFolder folder;
  const auto output = [&](size_t run) { return folder / (std::to_string(run) + ".jsonl"); };
  for (size_t run = 0; run < runs.size(); ++run) {
    runs[run].push_back("--output=" + output(run));
  }
  const std::vector<ProcessResult> results = run_side_by_side(runs);
  std::vector<Outcome> outcomes;
  for (size_t run = 0; run < runs.size(); ++run) {
    CAPTURE(runs[run], results[run].err);
    REQUIRE(results[run].exit_code == done);
    outcomes.push_back({read_header(output(run)), read_json_lines(output(run)), reported_forwards(results[run].out)});
  }
  return outcomes;
}

// As many samples as asked, each as long as `text`, which stays as given but for its '#', which are filled.
void check_filled(const Outcome& outcome, size_t samples, const std::string& text) {
  REQUIRE(outcome.samples.size() == samples);
  for (const json& sample : outcome.samples) {
    const auto filled = sample["text"].get<std::string>();
    CAPTURE(filled);
    CHECK_FALSE(contains(filled, "[MASK]"));
    REQUIRE(filled.size() == text.size());
    CHECK(sample["tokens"].size() == text.size());
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '#') {
        CAPTURE(i);
        CHECK(filled[i] == text[i]);
      }
    }
  }
}

std::string after_prefix(const std::string& prefix) {
  return prefix + std::string(static_cast<size_t>(length) - prefix.size(), '#');
}

// What is visible of the first sample before each step and, last, after it: one character a position, '#' for a mask.
std::vector<std::string> watched_texts(const std::string& err) {
  std::vector<std::string> texts;
  std::istringstream lines(err);
  const std::string before = "  before:    ", line_feed = "\u23CE";
  for (std::string line; std::getline(lines, line);) {
    if (line.compare(0, before.size(), before) != 0) {
      continue;
    }
    std::string text = line.substr(before.size());
    for (size_t found = text.find(line_feed); found != std::string::npos; found = text.find(line_feed)) {
      text.replace(found, line_feed.size(), "/");
    }
    texts.push_back(text);
  }
  REQUIRE_FALSE(texts.empty());
  texts.emplace_back(texts.back().size(), '.');
  return texts;
}

// Each on every device there is.
std::vector<Arguments> on_devices(const std::vector<Arguments>& runs) {
  static const std::vector<std::string> all_devices = devices();
  std::vector<Arguments> all;
  for (const std::string& device : all_devices) {
    for (const Arguments& run : runs) {
      all.push_back(join(run, {"--device=" + device}));
    }
  }
  return all;
}

}  // namespace

TEST_CASE("Every strategy fills what follows a prefix in exactly the forwards asked for, alone as in a batch") {
  const std::string prefix = "ROMEO:\n";
  std::vector<Arguments> runs;
  for (const Variant& variant : variants()) {
    runs.push_back(join(variant.arguments(), {"--start_text=" + prefix, "--forwards=12", "--num_samples=3"}));
  }
  const size_t strategies = runs.size();
  runs = on_devices(runs);
  const size_t batches = runs.size();
  // Alone on the CPU, where they agree to the last bit, each third: whatever chooses the positions, a sample is drawn
  // alike.
  std::vector<size_t> alone;
  for (size_t i = 0; i < strategies && !sanitized; i += 3) {
    alone.push_back(i);
    runs.push_back(join(runs[i], {"--num_samples=1", "--first_sample=2"}));
  }
  const std::vector<Outcome> outcomes = sample_all(runs);
  for (size_t i = 0; i < batches; ++i) {
    CAPTURE(runs[i]);
    check_filled(outcomes[i], 3, after_prefix(prefix));
    CHECK(outcomes[i].forwards == 12 + 1);
    CHECK(outcomes[i].samples[0]["text"] != outcomes[i].samples[1]["text"]);
    const json& settings = outcomes[i].header["settings"];
    CHECK(settings["strategy"] == variants()[i % strategies].strategy);
    CHECK(settings["forwards"] == 12);
  }
  for (size_t k = 0; k < alone.size(); ++k) {
    CAPTURE(runs[alone[k]]);
    CHECK(outcomes[alone[k]].samples[2] == outcomes[batches + k].samples.at(0));
  }
}

TEST_CASE("Every strategy fills a template block by block, judged the other way, in exactly the forwards asked for") {
  const std::string text = "ROMEO:\n" + std::string(20, '#') + "\nJULIET:\n" + std::string(28, '#') + "\nROMEO:\n";
  std::vector<Arguments> runs;
  for (const Variant& variant : variants()) {
    runs.push_back(
        join(variant.arguments(), {"--infill_text=" + text, "--forwards=12", "--block_length=16", "--num_samples=2"}));
    if (!variant.other_source.empty()) {
      runs.back().push_back("--confidence_source=" + variant.other_source);
    }
  }
  runs = on_devices(runs);
  const std::vector<Outcome> outcomes = sample_all(runs);
  for (size_t i = 0; i < runs.size(); ++i) {
    CAPTURE(runs[i]);
    check_filled(outcomes[i], 2, text);
    CHECK(outcomes[i].forwards == 12 + 1);
  }
}

TEST_CASE("A step fills positions of one block only, of the first that is not full") {
  const std::vector<Arguments> runs = {
      {"--strategy=best", "--forwards=12"}, {"--strategy=threshold"}, {"--strategy=threshold", "--forwards=4"}};
  constexpr size_t block_length = 16, positions = 2 * block_length + 1;
  std::vector<Arguments> watched;
  for (const Arguments& run : runs) {
    watched.push_back(
        join(run, {"--use_verbose_logging=True", "--num_samples=1", "--block_length=" + std::to_string(block_length),
                   "--sequence_length=" + std::to_string(positions)}));
  }
  for (const ProcessResult& result : run_side_by_side(watched)) {
    CAPTURE(result.out, result.err);
    REQUIRE(result.exit_code == done);
    const std::vector<std::string> texts = watched_texts(result.err);
    for (size_t step = 0; step + 1 < texts.size(); ++step) {
      const std::string &before = texts[step], &after = texts[step + 1];
      CAPTURE(step, before, after);
      REQUIRE(before.size() == positions);
      const size_t current = before.find('#') / block_length;
      for (size_t i = 0; i < positions; ++i) {
        if (i / block_length != current) {
          CHECK((before[i] == '#') == (after[i] == '#'));
        }
      }
    }
  }
}

TEST_CASE("A sample that needs fewer steps than another of its batch is the same alone") {
  const std::vector<Arguments> settings = {{"--strategy=threshold"},
                                           {"--strategy=klass", "--block_length=16"},
                                           {"--strategy=ancestral", "--diffusion_iterations=16"}};
  std::vector<Arguments> runs;
  for (const Arguments& each : settings) {
    runs.push_back(join(each, {"--num_samples=3"}));
    runs.push_back(join(each, {"--num_samples=1", "--first_sample=2"}));
  }
  const std::vector<Outcome> outcomes = sample_all(runs);
  for (size_t i = 0; i < runs.size(); i += 2) {
    CAPTURE(runs[i]);
    check_filled(outcomes[i], 3, after_prefix(""));
    CHECK(outcomes[i].samples[2] == outcomes[i + 1].samples.at(0));
    CHECK(outcomes[i].forwards >= outcomes[i + 1].forwards);
  }
}

TEST_CASE("A bound that nothing reaches still ends, and one that all reach takes a single forward") {
  std::vector<Arguments> runs = {{"--strategy=threshold", "--threshold=1.0"},
                                 {"--strategy=klass", "--conf_threshold=1", "--kl_threshold=0"},
                                 {"--strategy=threshold", "--threshold=0"}};
  for (Arguments& run : runs) {
    run.push_back("--num_samples=1");
  }
  const std::vector<Outcome> outcomes = sample_all(runs);
  for (size_t i = 0; i < runs.size(); ++i) {
    CAPTURE(runs[i]);
    check_filled(outcomes[i], 1, after_prefix(""));
    CHECK(outcomes[i].forwards <= length + 1);
  }
  CHECK(outcomes[2].forwards == 1 + 1);
}

TEST_CASE("Guidance by the prompt doubles the forwards and changes the text") {
  const Arguments without = {"--start_text=ROMEO:\n", "--diffusion_iterations=6", "--num_samples=2"};
  const std::vector<Outcome> outcomes = sample_all({without, join(without, {"--cfg_scale=2"})});
  // Each iteration but the last is judged.
  CHECK(outcomes[0].forwards == 6 + 5 + 1);
  CHECK(outcomes[1].forwards == 2 * (6 + 5) + 1);
  check_filled(outcomes[1], 2, after_prefix("ROMEO:\n"));
  CHECK(outcomes[0].samples[0]["text"] != outcomes[1].samples[0]["text"]);
}

TEST_CASE("Forwards, blocks and guidance that cannot be had are refused") {
  struct Case {
    Arguments arguments;
    std::vector<std::string> parts;
  };
  const Arguments guided = {"--forwards=13", "--cfg_scale=1", "--start_text=ROMEO:"},
                  blocks = {"--block_length=16", "--forwards=2"};
  const std::vector<Case> cases = {
      {{"--strategy=confidence", "--threshold=0.9"}, {"threshold", "strategy='confidence'", "taken by threshold"}},
      {{"--cfg_scale=1.5"}, {"cfg_scale=1.5", "start_text", "infill_text"}},
      {{"--strategy=confidence", "--forwards=100"}, {"forwards=100", "'confidence'", "48 positions"}},
      {join(guided, {"--strategy=confidence"}), {"forwards=13"}},
      {join(guided, {"--strategy=ancestral"}), {"forwards=13", "cfg_scale=1"}},
      {{"--block_length=16", "--diffusion_iterations=2"}, {"block_length", "3 blocks", "diffusion_iterations"}},
      {join(blocks, {"--strategy=confidence"}), {"3 blocks", "forwards"}},
      {join(blocks, {"--strategy=ancestral"}), {"3 blocks", "forwards"}},
      {join(blocks, {"--strategy=threshold"}), {"3 blocks", "forwards"}},
  };
  std::vector<Arguments> runs;
  for (const Case& each : cases) {
    runs.push_back(each.arguments);
  }
  const std::vector<ProcessResult> results = run_side_by_side(runs);
  for (size_t i = 0; i < runs.size(); ++i) {
    CAPTURE(runs[i], results[i].err);
    CHECK(results[i].exit_code == bad_usage);
    CHECK(contains("\n" + results[i].err, "\ndemask: "));
    CHECK(results[i].out.empty());
    for (const std::string& part : cases[i].parts) {
      CAPTURE(part);
      CHECK(contains(results[i].err, part));
    }
  }
}

TEST_CASE("A run whose texts collapse says so once, with what to use, and others say nothing") {
  // On word pieces `confidence` confirms itself: four of five 4-grams repeat another.
  const std::vector<std::string> run = {"--device=cpu",         "--dtype=float32",       "--checkpoint_name=english.pt",
                                        "--num_samples=2",      "--sequence_length=128", "--forwards=16",
                                        "--show_progress=False"};
  const auto err_of = [&run](const std::string& strategy) {
    std::vector<std::string> arguments = run;
    arguments.push_back("--strategy=" + strategy);
    const ProcessResult result = demask::testing::demask(arguments);
    CHECK(result.exit_code == 0);
    return result.err;
  };
  const std::string collapsed = err_of("confidence");
  CAPTURE(collapsed);
  CHECK(contains(collapsed, "Notice: 2 of 2 texts collapsed into repetition: "));
  CHECK(contains(collapsed, "--strategy=best"));
  CHECK(collapsed.find("Notice: ") == collapsed.rfind("Notice: "));
  CHECK(err_of("ancestral").empty());
}

}  // namespace strategy_test

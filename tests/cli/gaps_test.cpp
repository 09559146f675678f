// Templates with gaps of unknown length, by the real program.
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "tests/cli/refusal.h"

using namespace demask::testing;
using nlohmann::json;

namespace gaps_test {
namespace {

using Arguments = std::vector<std::string>;

void draw_into(Arguments arguments, const std::string& output) {
  const Arguments common = {"--device=cpu",          "--dtype=float32", "--show_progress=False",
                            "--strategy=confidence", "--forwards=3",    "--output=" + output};
  arguments.insert(arguments.begin(), common.begin(), common.end());
  const ProcessResult result = demask::testing::demask(arguments);
  CAPTURE(arguments, result.err);
  REQUIRE(result.exit_code == 0);
}

std::vector<json> draw(const Arguments& arguments, const std::string& output) {
  draw_into(arguments, output);
  return read_json_lines(output);
}

std::vector<json> draw(const Arguments& arguments) {
  const TemporaryFolder folder;
  return draw(arguments, folder / "samples.jsonl");
}

const Arguments two_gaps = {"--infill_text=ROMEO: ~, my lord, and # ~ for thee.", "--gap_char=~", "--gap_min=2",
                            "--gap_max=9"};

Arguments with(Arguments arguments, const Arguments& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

}  // namespace

TEST_CASE("A text with gaps keeps what is fixed, and its gaps are as long as they may be") {
  const std::string begin = "ROMEO: ", middle = ", my lord, and ", end = " for thee.";
  std::set<size_t> lengths;
  for (const json& sample : draw(with(two_gaps, {"--num_samples=8"}))) {
    const std::string text = sample["text"];
    CAPTURE(text);
    const size_t fixed = begin.size() + middle.size() + end.size() + 2;  // one mask and the space after it
    CHECK(text.substr(0, begin.size()) == begin);
    CHECK(text.substr(text.size() - end.size()) == end);
    CHECK(text.find(middle) != std::string::npos);
    CHECK(text.size() >= fixed + 4);
    CHECK(text.size() <= fixed + 18);
    CHECK(sample["tokens"].size() == text.size());
    lengths.insert(text.size());
  }
  CHECK(lengths.size() > 1);
}

TEST_CASE("A sample with gaps is the same alone, in any batch, in a shard and in a run that goes on") {
  const TemporaryFolder folder;
  const std::vector<json> all = draw(with(two_gaps, {"--num_samples=6"}), folder / "all.jsonl");
  REQUIRE(all.size() == 6);
  CHECK(draw(with(two_gaps, {"--num_samples=6", "--batch_size=1"})) == all);
  CHECK(draw(with(two_gaps, {"--num_samples=6", "--batch_size=4"})) == all);
  CHECK(draw(with(two_gaps, {"--num_samples=1", "--first_sample=5"})).at(0) == all[5]);
  draw_into(with(two_gaps, {"--num_samples=6", "--shard=1/2"}), folder / "part-{shard}.jsonl");
  CHECK(read_json_lines(folder / "part-1.jsonl") == std::vector<json>(all.begin() + 3, all.end()));

  const std::string whole = read_file(folder / "all.jsonl");
  size_t end = 0;
  for (int line = 0; line < 4; ++line) {
    end = whole.find('\n', end) + 1;
  }
  write_file(folder / "part.jsonl", whole.substr(0, end));
  CHECK(draw(with(two_gaps, {"--num_samples=6", "--resume=True"}), folder / "part.jsonl") == all);
}

TEST_CASE("At temperature 0 every sample has the likeliest lengths") {
  const std::vector<json> samples = draw(with(two_gaps, {"--num_samples=3", "--temperature=0"}));
  REQUIRE(samples.size() == 3);
  CHECK(samples[1]["tokens"] == samples[0]["tokens"]);
  CHECK(samples[2]["tokens"] == samples[0]["tokens"]);
}

TEST_CASE("Gaps keep to a pattern, and the candidates of a sample have the lengths of the first") {
  const Arguments by_pattern = {"--infill_text=ROMEO: ~, my lord.", "--gap_char=~", "--gap_min=3", "--gap_max=12",
                                "--pattern=ROMEO: [a-z]{3}( [a-z]{4})?, my lord\\."};
  const std::regex pattern("ROMEO: [a-z]{3}( [a-z]{4})?, my lord\\.");
  const std::vector<json> best = draw(with(by_pattern, {"--num_samples=3", "--best_of=2", "--score_draws=4"}));
  const std::vector<json> all = draw(with(by_pattern, {"--num_samples=6"}));
  REQUIRE(best.size() == 3);
  for (size_t k = 0; k < best.size(); ++k) {
    CHECK(std::regex_match(best[k]["text"].get<std::string>(), pattern));
    CHECK(best[k]["tokens"].size() == all[2 * k]["tokens"].size());
    CHECK(best[k].contains("log_likelihood"));
  }
  for (const json& sample : all) {
    CHECK(std::regex_match(sample["text"].get<std::string>(), pattern));
  }
  check_refused({"--infill_text=To ~ be", "--gap_char=~", "--gap_max=3", "--pattern=To [a-z]{4,9} be"}, bad_usage,
                {"pattern", "gaps", "infill_text", "10 to 15"});
}

TEST_CASE("A list takes templates in parts, and draws them as their text with marks") {
  const TemporaryFolder folder;
  const std::string list = folder / "list.jsonl";
  write_file(list, R"({"id": "a", "infill": ["ROMEO: ", {"gap": [2, 9]}, ", my lord, and ", {"masks": 1}, " ", )"
                   R"({"gap": [2, 9]}, " for thee."], "num_samples": 3})"
                   "\n"
                   R"({"id": "b", "start_text": "To"})"
                   "\n"
                   R"({"id": "c", "infill": ["~ # ", {"masks": 3}]})"
                   "\n");
  const Arguments from_list = {"--prompts=" + list, "--sequence_length=24", "--unknown_chars=skip"};
  const std::vector<json> drawn = draw(from_list);
  REQUIRE(drawn.size() == 5);
  const std::vector<json> own = draw(with(two_gaps, {"--num_samples=3"}));
  for (size_t k = 0; k < own.size(); ++k) {
    CHECK(drawn[k]["tokens"] == own[k]["tokens"]);
  }
  CHECK(drawn[4]["tokens"].size() == 5);  // "  " of "~ # " and the masks
}

TEST_CASE("A trace of a text with gaps has as many positions as the text, and knows which were given") {
  const TemporaryFolder folder;
  const std::string trace_path = folder / "trace.json";
  const std::vector<json> samples = draw(with(two_gaps, {"--num_samples=2", "--trace=" + trace_path}));
  const json traced = json::parse(read_file(trace_path))["samples"].at(0);
  CAPTURE(traced);
  // Half-open ranges of what is given: the one mask splits the middle part.
  const std::string text = samples[0]["text"];
  const auto size = static_cast<int64_t>(text.size()), middle = static_cast<int64_t>(text.find(", my"));
  CHECK(traced["given"] == json({{0, 7}, {middle, middle + 15}, {middle + 16, middle + 17}, {size - 10, size}}));
}

TEST_CASE("Gaps that cannot be are refused") {
  const std::string text = "--infill_text=To ~ be";
  check_refused({text, "--gap_char=~", "--gap_min=9", "--gap_max=3"}, bad_usage, {"gap_min=9", "gap_max=3"});
  check_refused({text, "--gap_char=#"}, bad_usage, {"gap_char", "mask_char", "'#'"});
  check_refused({"--gap_char=~"}, bad_usage, {"gap_char", "infill_text"});
  check_refused({text, "--gap_char=~", "--sampling_method=standard"}, bad_usage, {"gap_char", "diffusion"});
  check_refused({text, "--gap_char=ab"}, bad_usage, {"gap_char", "a single character"});
  check_refused({text, "--gap_char=~", "--gap_min=0"}, bad_usage, {"gap_min", "from 1"});
  check_refused({text, "--gap_char=~", "--gap_max=600"}, bad_usage, {"infill_text", "606", "512", "block size"});
  check_refused({"--infill_text=To be", "--gap_char=~"}, bad_usage, {"nothing to fill", "'~'", "'#'"});
}

TEST_CASE("A line with gaps that cannot be is refused with its place, or left out") {
  const TemporaryFolder folder;
  const std::string list = folder / "list.jsonl";
  write_file(list, R"({"id": 1, "infill": ["To ", {"gap": [3, 4]}, " be"]})"
                   "\n"
                   R"({"id": 2, "infill": ["To ", {"gap": [3, 2]}]})"
                   "\n"
                   R"({"id": 3, "infill": ["To ", {"gap": [1, 600]}]})"
                   "\n");
  check_refused({"--prompts=" + list}, bad_input, {"list.jsonl:2", "infill", "3 to 2"});
  const ProcessResult skipping =
      demask::testing::demask({"--device=cpu", "--strategy=confidence", "--forwards=3",
                               "--output=" + (folder / "out.jsonl"), "--prompts=" + list, "--on_error=skip"});
  CHECK(skipping.exit_code == 4);
  CHECK_THAT(skipping.err, Catch::Matchers::ContainsSubstring("list.jsonl:2: infill: part 1"));
  CHECK(read_json_lines(folder / "out.jsonl").size() == 1);
}

}  // namespace gaps_test

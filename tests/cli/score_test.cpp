// Scores of texts, and samples chosen by them, as a user asks for them.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/cli/refusal.h"
#include "tests/support/catch.h"
#include "tests/support/demask.h"
#include "tests/support/goldens.h"
#include "tests/support/recipes.h"

using namespace demask::testing;
using nlohmann::json;

namespace score_test {
namespace {

const std::string gpt2 = "--checkpoint_name=" + goldens + "gpt2/model";
const std::string llada = "--checkpoint_name=" + goldens + "llada/model";

std::vector<json> lines_of(const std::string& text) {
  std::vector<json> lines;
  for (size_t start = 0; start < text.size();) {
    const size_t end = text.find('\n', start);
    lines.push_back(json::parse(text.substr(start, end - start)));
    start = end + 1;
  }
  return lines;
}

ProcessResult score(const std::string& file, const std::vector<std::string>& arguments) {
  std::vector<std::string> all = {"--score=" + file, "--device=cpu", "--dtype=float32", "--show_progress=False"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return demask::testing::demask(all);
}

// The scores, in order; the run must succeed.
std::vector<json> scores_of(const std::string& file, const std::vector<std::string>& arguments) {
  const ProcessResult result = score(file, arguments);
  INFO(result.err);
  REQUIRE(result.exit_code == done);
  return lines_of(result.out);
}

// As a list of texts.
std::string json_lines(const std::vector<json>& lines) {
  std::string all;
  for (const json& line : lines) {
    all += line.dump() + "\n";
  }
  return all;
}

// What the run says of all lines at its end.
std::string summary_of(const std::vector<json>& lines) {
  double sum = 0, tokens = 0, characters = 0;
  for (const json& line : lines) {
    sum += line["log_likelihood"].get<double>();
    tokens += line["token_count"].get<double>();
    characters += line["character_count"].get<double>();
  }
  return fmt::format(
      "{} texts of {} tokens, {} characters: mean log-likelihood {:.4f} a text, {:.4f} nats a token (perplexity "
      "{:.4f}), "
      "{:.4f} bits a character.",
      lines.size(), tokens, characters, sum / static_cast<double>(lines.size()), -sum / tokens, std::exp(-sum / tokens),
      -sum / std::log(2.0) / characters);
}

void check_score_refused(const std::string& list, const std::vector<std::string>& arguments, int exit_code,
                         const std::vector<std::string>& parts) {
  const TemporaryFolder folder;
  write_file(folder / "texts.jsonl", list);
  const ProcessResult result = score(folder / "texts.jsonl", arguments);
  CAPTURE(list, arguments, result.err);
  CHECK(result.exit_code == exit_code);
  CHECK(result.out.empty());
  for (const std::string& part : parts) {
    CAPTURE(part);
    CHECK(contains(result.err, part));
  }
}

}  // namespace

TEST_CASE("Texts and tokens are as likely under GPT-2 as its own code says") {
  const TemporaryFolder folder;
  std::vector<json> list;
  const json expected = expected_of("gpt2")["log_likelihood"]["texts"];
  for (const json& text : expected) {
    list.push_back({{"text", text["text"]}});
    list.push_back({{"tokens", text["ids"]}});
    list.push_back({{"id", "given " + std::to_string(list.size())}, {"given", {399}}, {"tokens", text["ids"]}});
  }
  write_file(folder / "texts.jsonl", json_lines(list));
  const std::vector<json> scores = scores_of(folder / "texts.jsonl", {gpt2, "--score_tokens=True"});
  REQUIRE(scores.size() == list.size());
  for (size_t k = 0; k < scores.size(); ++k) {
    CAPTURE(k);
    const json& text = expected[k / 3];
    const bool alone = k % 3 == 1;  // tokens stand for themselves: nothing comes before the first
    const std::vector<double> each = text[alone ? "token_logprobs" : "token_logprobs_with_bos"];
    const std::vector<double> ours = scores[k]["token_log_likelihoods"];
    REQUIRE(ours.size() == each.size());
    double sum = 0;
    for (size_t token = 0; token < each.size(); ++token) {
      CHECK(std::abs(ours[token] - each[token]) < 1e-5);
      sum += ours[token];
    }
    CHECK(scores[k]["index"] == k);
    CHECK(scores[k]["id"] == (k % 3 == 2 ? list[k]["id"] : json(k + 1)));
    CHECK(scores[k]["score_method"] == "exact");
    CHECK_FALSE(scores[k].contains("standard_error"));
    CHECK(scores[k]["token_count"] == each.size());
    CHECK(scores[k]["tokens"].size() == each.size());
    CHECK(scores[k]["log_likelihood"].get<double>() == Catch::Approx(sum));
    CHECK(scores[k]["nats_per_token"].get<double>() == Catch::Approx(-sum / static_cast<double>(each.size())));
    if (!alone && text["text"].get<std::string>().find_first_of("\xC2\xC3\xE2") == std::string::npos) {
      const auto characters = static_cast<double>(text["text"].get<std::string>().size());
      CHECK(scores[k]["character_count"] == characters);
      CHECK(scores[k]["bits_per_character"].get<double>() == Catch::Approx(-sum / std::log(2.0) / characters));
    }
  }
}

TEST_CASE("A bound is near the golden of LLaDA, and nearer by more draws") {
  const TemporaryFolder folder;
  const json text = expected_of("llada")["log_likelihood"]["cases"][0];
  write_file(folder / "texts.jsonl",
             json_lines({{{"given", text["prompt_ids"]}, {"tokens", text["answer_ids"]}, {"seed", 5}}}));
  const json few = scores_of(folder / "texts.jsonl", {llada, "--score_draws=16"}).at(0);
  const json many = scores_of(folder / "texts.jsonl", {llada, "--score_draws=1024"}).at(0);
  CHECK(many["score_method"] == "bound");
  CHECK(many["score_draws"] == 1024);
  CHECK(many["token_count"] == 9);
  const auto error = many["standard_error"].get<double>();
  CHECK(error < few["standard_error"].get<double>() / 4);
  // The golden is a mean of 16 draws itself.
  std::vector<double> draws = text["per_draw"];
  double squares = 0;
  for (const double draw : draws) {
    squares += std::pow(draw - text["mean_of_per_draw"].get<double>(), 2);
  }
  const double of_golden = std::sqrt(squares / 15 / 16);
  CHECK(std::abs(many["log_likelihood"].get<double>() - text["mean_of_per_draw"].get<double>()) <
        4 * std::hypot(error, of_golden));
}

TEST_CASE("Scores are the same in any batch, from any shard, and after any interruption") {
  const TemporaryFolder folder;
  std::string texts;
  for (int k = 0; k < 12; ++k) {
    texts += std::string("To be, or not to be, that is the question").substr(0, 5 + 3 * static_cast<size_t>(k)) + "\n";
  }
  write_file(folder / "texts.txt", texts);
  const std::vector<std::string> shared = {"--score_draws=6", "--score_tokens=True"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.end(), shared.begin(), shared.end());
    return more;
  };
  const std::string whole = folder / "whole.jsonl";
  REQUIRE(score(folder / "texts.txt", with({"--output=" + whole})).exit_code == done);
  const std::string expected = read_file(whole);
  const std::string lines = expected.substr(expected.find('\n') + 1);
  REQUIRE(std::count(lines.begin(), lines.end(), '\n') == 12);
  const ProcessResult one_by_one = score(folder / "texts.txt", with({"--batch_size=1"}));
  CHECK(one_by_one.out == lines);
  CHECK(contains(one_by_one.err, summary_of(lines_of(lines))));
  int64_t tokens = 0;
  for (const json& line : lines_of(lines)) {
    tokens += line["token_count"].get<int64_t>();
  }
  CHECK(contains(one_by_one.err, fmt::format("scored {} tokens in ", tokens)));
  for (const std::string shard : {"0", "1"}) {
    REQUIRE(score(folder / "texts.txt", with({"--shard=" + shard + "/2", "--output=" + folder / "part-{shard}.jsonl"}))
                .exit_code == done);
  }
  REQUIRE(demask::testing::demask({"--merge=" + folder / "part-*.jsonl", "--output=" + folder / "merged.jsonl"})
              .exit_code == done);
  CHECK(read_file(folder / "merged.jsonl") == expected);

  // Killed in its fifth line.
  size_t end = 0;
  for (int line = 0; line < 5; ++line) {
    end = expected.find('\n', end) + 1;
  }
  write_file(folder / "rest.jsonl", expected.substr(0, end + 20));
  const ProcessResult rest = score(folder / "texts.txt", with({"--output=" + folder / "rest.jsonl", "--resume=True"}));
  CHECK(rest.exit_code == done);
  CHECK(contains(rest.err, summary_of(lines_of(lines))));  // of all of the file
  CHECK(read_file(folder / "rest.jsonl") == expected);
  CHECK(score(folder / "texts.txt", {"--output=" + folder / "rest.jsonl", "--resume=True", "--score_draws=7"})
            .exit_code == bad_usage);
}

TEST_CASE("A pseudo-likelihood is asked for by name, a likelier text has a higher score by any method") {
  const TemporaryFolder folder;
  write_file(folder / "texts.txt",
             "To be, or not to be, that is the question\nqzx;v!o TTe,bo 3& jtbe$ -hatqi zhx eqZ\n");
  for (const std::string method : {"bound", "pseudo"}) {
    const std::vector<json> scores = scores_of(folder / "texts.txt", {"--score_method=" + method, "--score_draws=16"});
    CHECK(scores.at(0)["score_method"] == method);
    CHECK(scores.at(0)["log_likelihood"].get<double>() > scores.at(1)["log_likelihood"].get<double>() + 10);
  }
  const std::vector<json> exact = scores_of(folder / "texts.txt", {"--sampling_method=standard"});
  CHECK(exact.at(0)["score_method"] == "exact");
  CHECK(exact.at(0)["token_count"] == 40);  // nothing tells how likely the first character is
  CHECK(exact.at(0)["log_likelihood"].get<double>() > exact.at(1)["log_likelihood"].get<double>() + 10);
}

TEST_CASE("What stands before a text conditions it") {
  const TemporaryFolder folder;
  write_file(folder / "texts.jsonl", R"({"text": "question", "given": "To be, or not to be, that is the "}
{"text": "question", "given": "Zounds! "}
)");
  for (const std::string method : {"standard", "diffusion"}) {
    const std::vector<json> scores = scores_of(folder / "texts.jsonl", {"--sampling_method=" + method});
    CHECK(scores.at(0)["token_count"] == 8);
    CHECK(scores.at(0)["character_count"] == 8);
  }
}

TEST_CASE("Texts longer than the block are judged in windows by an autoregressive model, refused by the other") {
  const TemporaryFolder folder;
  const std::string line(600, 'a');
  write_file(folder / "texts.txt", line + "\n");
  CHECK(scores_of(folder / "texts.txt", {gpt2}).at(0)["character_count"] == 600);
  const ProcessResult refused = score(folder / "texts.txt", {});
  CHECK(refused.exit_code == bad_input);
  CHECK(contains(refused.err, "600 tokens"));
}

TEST_CASE("The examples of the documentation do what they say") {
  const TemporaryFolder folder;
  const std::string source = DEMASK_SOURCE_DIR;
  const auto run = [&](const std::string& name) {
    ProcessOptions options;
    options.directory = folder.path();
    const std::string settings =
        " --device=cpu --dtype=float32 --sequence_length=24 --diffusion_iterations=4 --out_dir='" + source +
        "/out' --data_dir='" + source + "/data' \"$@\"; }\n";
    const ProcessResult result =
        run_process({"sh", "-ec", "demask() { '" DEMASK_BINARY "'" + settings + recipe("canvas.md", name)}, options);
    INFO(result.err);
    CHECK(result.exit_code == done);
  };
  run("score");
  const std::vector<json> scores = lines_of(read_file(folder / "scores.jsonl"));
  REQUIRE(scores.size() == 2);
  CHECK(scores[0]["log_likelihood"] > scores[1]["log_likelihood"]);
  run("best_of");
  const std::vector<json> best = read_json_lines(folder / "best.jsonl");
  REQUIRE(best.size() == 2);
  CHECK(best[0]["text"].get<std::string>().substr(0, 5) == "KING ");
  CHECK(best[0]["log_likelihood"].is_number());
}

TEST_CASE("Bad texts to score are refused by line, or left out with on_error=skip") {
  check_score_refused("", {}, bad_input, {"no texts"});
  check_score_refused(R"({"text": "a"})", {"--sampling_method=standard"}, bad_input, {"single token", "given"});
  check_score_refused("{\"text\": \"ab\"}\n{\"text\": \"\"}\n", {"--on_error=stop"}, bad_input,
                      {":2", "on_error=skip"});

  const TemporaryFolder folder;
  const std::vector<std::pair<std::string, std::vector<std::string>>> bad = {
      {R"({"text": ""})", {"empty"}},
      {R"({"text": "a", "tokens": [1]})", {"text and tokens"}},
      {R"({"id": 7})", {"none of text and tokens"}},
      {R"({"text": "a", "givn": "b"})", {"givn", "given"}},
      {R"({"text": "a", "given": 3})", {"given = 3", "list of ids"}},
      {R"({"text": "a", "given": [1, "x"]})", {"given[1]"}},
      {R"({"text": 5})", {"text = 5"}},
      {R"({"text": "caf\u00e9"})", {"text", "é"}},
      {R"({"tokens": [1, 99999]})", {"tokens[1] = 99999"}},
      {R"({"tokens": [1, 65]})", {"65"}},  // the mask
      {R"({"text": "a", "given": [70]})", {"given[0] = 70"}},
      {R"({"text": "a")", {"JSON"}},
      {"nonsense", {"JSON"}}};
  std::string list = "{\"text\": \"ab\"}\n";
  for (const auto& [line, parts] : bad) {
    list += line + "\n";
  }
  write_file(folder / "texts.jsonl", list + "{\"text\": \"cd\"}\n");
  const ProcessResult result = score(folder / "texts.jsonl", {"--on_error=skip", "--score_draws=2"});
  CAPTURE(result.err);
  CHECK(result.exit_code == failed);
  CHECK(contains(result.err, std::to_string(bad.size()) + " lines"));
  for (size_t k = 0; k < bad.size(); ++k) {
    const std::string place = "texts.jsonl:" + std::to_string(k + 2) + ": ";
    CAPTURE(place);
    REQUIRE(contains(result.err, place));
    const size_t start = result.err.find(place);
    const std::string message = result.err.substr(start, result.err.find('\n', start) - start);
    for (const std::string& part : bad[k].second) {
      CHECK(contains(message, part));
    }
  }
  const std::vector<json> scores = lines_of(result.out);
  REQUIRE(scores.size() == 2);
  CHECK(scores[1]["id"] == bad.size() + 2);
}

TEST_CASE("Settings that make no sense for scores are refused") {
  const std::string text = R"({"text": "ab"})";
  check_score_refused(text, {"--prompts=x.txt"}, bad_usage, {"prompts"});
  check_score_refused(text, {"--start_text=x"}, bad_usage, {"start_text"});
  check_score_refused(text, {"--best_of=2"}, bad_usage, {"best_of"});
  check_score_refused(text, {"--num_samples=2"}, bad_usage, {"num_samples"});
  check_score_refused(text, {"--trace=x.json"}, bad_usage, {"trace"});
  check_score_refused(text, {"--output=x.txt"}, bad_usage, {".jsonl"});
  check_score_refused(text, {"--score_draws=0"}, bad_usage, {"score_draws"});
  check_score_refused(text, {"--score_method=exactly"}, bad_usage, {"'exact'"});
  check_score_refused(text, {"--score_method=exact"}, bad_usage, {"exact", "bound"});
  check_score_refused(text, {gpt2, "--score_method=bound"}, bad_usage, {"bound", "exact"});
  check_refused({"--score_tokens=True"}, bad_usage, {"score_tokens", "--score"});
  const ProcessResult csv = score("texts.csv", {});
  CHECK(csv.exit_code == bad_usage);
  CHECK(contains(csv.err, ".txt (one text a line)"));
  check_refused({"--best_of=0"}, bad_usage, {"best_of"});
}

TEST_CASE("The best of several candidates is the likeliest of the samples that are drawn without it") {
  const TemporaryFolder folder;
  for (const std::vector<std::string>& method : std::vector<std::vector<std::string>>{
           {"--sampling_method=standard", "--max_new_tokens=12", "--start_text=The "},
           {"--sequence_length=16", "--diffusion_iterations=4", "--start_text=The ", "--score_draws=8"},
           {"--sequence_length=16", "--diffusion_iterations=4", "--score_method=pseudo"}}) {
    const auto draw = [&](const std::string& name, std::vector<std::string> more) {
      more.insert(more.end(), method.begin(), method.end());
      more.insert(more.end(), {"--device=cpu", "--dtype=float32", "--show_progress=False",
                               "--output=" + folder / (name + ".jsonl")});
      const ProcessResult result = demask::testing::demask(more);
      INFO(result.err);
      REQUIRE(result.exit_code == done);
      return read_json_lines(folder / (name + ".jsonl"));
    };
    const auto best = draw("best", {"--num_samples=3", "--best_of=4"});
    const auto all = draw("all", {"--num_samples=12"});
    REQUIRE(best.size() == 3);
    for (size_t k = 0; k < best.size(); ++k) {
      const auto first = all.begin() + static_cast<std::ptrdiff_t>(4 * k);
      CAPTURE(method, k);
      CHECK(best[k]["index"] == k);
      CHECK(std::any_of(first, first + 4, [&](const json& one) { return one["tokens"] == best[k]["tokens"]; }));
    }
    // A sample is a function of seed and index.
    const auto last = draw("last", {"--num_samples=1", "--first_sample=2", "--best_of=4"});
    CHECK(last.at(0)["tokens"] == best[2]["tokens"]);
    CHECK(last.at(0)["log_likelihood"] == best[2]["log_likelihood"]);
    if (method[0] == "--sampling_method=standard") {
      // Scored again, the candidates are as likely as was said, and none likelier than the one that was kept.
      std::vector<json> texts;
      for (const json& one : all) {
        const std::vector<int64_t> tokens = one["tokens"];
        texts.push_back({{"given", std::vector<int64_t>(tokens.begin(), tokens.begin() + 4)},
                         {"tokens", std::vector<int64_t>(tokens.begin() + 4, tokens.end())}});
      }
      write_file(folder / "texts.jsonl", json_lines(texts));
      const std::vector<json> scores = scores_of(folder / "texts.jsonl", {"--sampling_method=standard"});
      for (size_t k = 0; k < best.size(); ++k) {
        double likeliest = scores[4 * k]["log_likelihood"];
        for (size_t one = 1; one < 4; ++one) {
          likeliest = std::max(likeliest, scores[4 * k + one]["log_likelihood"].get<double>());
        }
        CHECK(best[k]["log_likelihood"].get<double>() == Catch::Approx(likeliest));
      }
    }
  }
}

}  // namespace score_test

// The library as its users meet it: the shared object and its public headers.
#include "demask/sampler.h"

#include <new>
#include <numeric>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/errors.h"

using demask::Error;
using demask::ExitCode;
using demask::Prompt;
using demask::Sample;
using demask::Sampler;
using demask::Score;

namespace {

std::vector<std::string> settings(std::vector<std::string> own) {
  const std::string source = DEMASK_SOURCE_DIR;
  std::vector<std::string> all = {"--out_dir=" + source + "/out",
                                  "--data_dir=" + source + "/data",
                                  "--checkpoint_name=standard.pt",
                                  "--sampling_method=standard",
                                  "--device=cpu",
                                  "--dtype=float32",
                                  "--max_new_tokens=12"};
  all.insert(all.end(), own.begin(), own.end());
  return all;
}

ExitCode code_of_opening(const std::vector<std::string>& arguments) {
  try {
    const Sampler sampler(arguments);
  } catch (const Error& error) {
    CHECK(std::string(error.what()).size() > 10);
    return error.code();
  }
  return ExitCode::done;
}

Prompt prompt(const std::string& id, const std::string& text) {
  Prompt one;
  one.id = id;
  one.start_text = text;
  return one;
}

}  // namespace

TEST_CASE("Samples come in order with their identity, text and tokens, and are the same when drawn again") {
  Sampler sampler(settings({"--num_samples=3", "--start_text=ROMEO:", "--batch_size=2"}));
  std::vector<std::string> texts, again;
  CHECK(sampler.draw([&](const Sample& sample) {
    CHECK(sample.identity.index == static_cast<int64_t>(texts.size()));
    CHECK(sample.identity.seed == 1337);
    CHECK(sample.text.substr(0, 6) == "ROMEO:");
    CHECK(sample.tokens.size() == 18);
    CHECK(sample.self_confidence < 0);
    texts.push_back(sample.text);
  }) == 3);
  CHECK(std::set<std::string>(texts.begin(), texts.end()).size() == 3);
  sampler.draw([&](const Sample& sample) { again.push_back(sample.text); });
  CHECK(again == texts);
}

TEST_CASE("A list of prompts gives each prompt one sample, or as many as it asks for, in the list's order") {
  Sampler sampler(settings({}));
  Prompt twice = prompt("b", "The");
  twice.num_samples = 2;
  std::vector<std::string> ids;
  std::vector<int64_t> numbers;
  sampler.draw({prompt("a", "To be"), twice, prompt("c", "O")}, [&](const Sample& sample) {
    ids.push_back(sample.identity.prompt_id);
    numbers.push_back(sample.identity.number);
  });
  CHECK(ids == std::vector<std::string>{"a", "b", "b", "c"});
  CHECK(numbers == std::vector<int64_t>{0, 0, 1, 0});
}

TEST_CASE("A prompt may be ids, which draw what its text draws") {
  Sampler sampler(settings({}));
  std::vector<Sample> samples;
  const auto keep = [&](const Sample& sample) { samples.push_back(sample); };
  sampler.draw({prompt("a", "To be")}, keep);
  Prompt ids;
  ids.id = "a";
  ids.tokens.emplace(samples[0].tokens.begin(), samples[0].tokens.begin() + 5);
  sampler.draw({ids}, keep);
  CHECK(samples.at(1).tokens == samples[0].tokens);
  CHECK(samples[1].text == samples[0].text);
  ids.tokens = {0, 65};
  const std::string message = demask::testing::message_of([&] { sampler.draw({ids}, keep); });
  CHECK(message.find("prompt 0, counted from 0: tokens[1] = 65: must be") == 0);
}

TEST_CASE("A prompt that cannot be used is an error that names it, before anything is drawn") {
  Sampler sampler(settings({}));
  int drawn = 0;
  const std::string message = demask::testing::message_of([&] {
    sampler.draw({prompt("a", "To be"), prompt("b", "\xe2\x82\xac")}, [&](const Sample&) { ++drawn; });
  });
  CHECK(message.find("prompt 1, counted from 0:") != std::string::npos);
  CHECK(drawn == 0);
}

TEST_CASE("A prompt's numbers that are out of range are an error that names key and range") {
  Sampler sampler(settings({}));
  const auto message_with = [&sampler](std::optional<int64_t> Prompt::*number, int64_t value) {
    Prompt one = prompt("a", "To be");
    one.*number = value;
    return demask::testing::message_of([&] { sampler.draw({one}, [](const Sample&) { FAIL("drawn"); }); });
  };
  CHECK(message_with(&Prompt::num_samples, -1).find("num_samples = -1: must be") != std::string::npos);
  CHECK(message_with(&Prompt::max_new_tokens, 0).find("max_new_tokens = 0: must be") != std::string::npos);
  CHECK(message_with(&Prompt::seed, -1).find("seed = -1: must be") != std::string::npos);
}

TEST_CASE("What the program refuses is an Error with the program's exit code") {
  CHECK(code_of_opening(settings({"--temprature=1"})) == ExitCode::bad_usage);
  CHECK(code_of_opening(settings({"--top_p=2"})) == ExitCode::bad_usage);
  CHECK(code_of_opening(settings({"--checkpoint_name=nothing.pt"})) == ExitCode::bad_input);
  CHECK(code_of_opening({"--help"}) == ExitCode::bad_usage);
  CHECK(code_of_opening(settings({"--output=samples.jsonl"})) == ExitCode::bad_usage);
  CHECK(code_of_opening(settings({"--live=True"})) == ExitCode::bad_usage);
}

TEST_CASE("Texts are scored in order, and a text's score is its parts', each given what stands before it") {
  Sampler sampler(settings({}));
  const std::string first = "ROMEO:\nWhat, ho", second = " my lord, good night";
  Prompt whole = prompt("whole", first + second), beginning = prompt("beginning", first), end = prompt("end", second);
  end.given = first;
  end.num_samples = 7;  // says nothing of a text to score
  std::vector<Score> scores;
  CHECK(sampler.score({whole, beginning, end}, [&](const Score& score) { scores.push_back(score); }) == 3);
  REQUIRE(scores.size() == 3);
  for (size_t i = 0; i < scores.size(); ++i) {
    const Score& score = scores[i];
    CHECK(score.identity.index == static_cast<int64_t>(i));
    CHECK_FALSE(score.standard_error);  // exact
    CHECK(score.tokens.size() == score.token_log_likelihoods.size());
    const double sum = std::accumulate(score.token_log_likelihoods.begin(), score.token_log_likelihoods.end(), 0.0);
    CHECK(score.log_likelihood == Catch::Approx(sum));
    CHECK(score.log_likelihood < 0);
  }
  CHECK(scores[2].identity.prompt_id == "end");
  CHECK(scores[2].tokens.size() == second.size());  // of a model of characters
  CHECK(scores[1].tokens.size() == first.size() - 1);
  CHECK(scores[0].log_likelihood == Catch::Approx(scores[1].log_likelihood + scores[2].log_likelihood).epsilon(1e-5));

  int64_t samples = 0;
  const int64_t drawn = sampler.draw([&](const Sample&) { ++samples; });  // a Sampler that has scored still draws
  CHECK(drawn == samples);
  CHECK_THROWS_AS(sampler.score({whole}, [](const Score&) { throw std::bad_alloc(); }), std::bad_alloc);
  CHECK_THROWS_AS(sampler.score({prompt("none", "")}, [](const Score&) {}), Error);
  CHECK(sampler.score({whole, beginning}, [&](const Score&) { sampler.request_stop(); }) <= 2);
}

TEST_CASE("What on_sample throws reaches the caller as it is, also where it looks like memory that ran out") {
  Sampler sampler(settings({"--num_samples=2"}));
  CHECK_THROWS_AS(sampler.draw([](const Sample&) { throw std::out_of_range("mine"); }), std::out_of_range);
  CHECK_THROWS_AS(sampler.draw([](const Sample&) { throw std::bad_alloc(); }), std::bad_alloc);
  CHECK(sampler.draw([](const Sample&) {}) == 2);
}

TEST_CASE("A stop asked for while samples come ends the draw, and the next draw is not affected") {
  Sampler sampler(settings({"--num_samples=6", "--batch_size=2"}));
  int seen = 0;
  CHECK(sampler.draw([&](const Sample&) {
    ++seen;
    sampler.request_stop();
  }) == 2);
  CHECK(seen == 2);
  CHECK(sampler.draw([](const Sample&) {}) == 6);
}

#include "bench/quality/judge.h"

#include <cmath>
#include <string>
#include <vector>

#include "core/error.h"
#include "tests/support/catch.h"
#include "tests/support/goldens.h"

using Catch::Approx;
using namespace demask::quality;
using demask::testing::expected_of;
using Texts = std::vector<std::string>;

namespace {

demask::bench::Options on_cpu() {
  demask::bench::Options options;
  options.device_name = "cpu";
  return options;
}

Judge judge_of(const std::string& name) {
  return Judge(demask::testing::goldens + name + "/model", on_cpu());
}

}  // namespace

TEST_CASE("a judge of word pieces needs as many nats as the field's own code, text by text") {
  Judge judge = judge_of("gpt2");
  const auto texts = expected_of("gpt2")["log_likelihood"]["texts"];
  for (const auto& expected : texts) {
    const Readings readings = judge.read({expected["text"].get<std::string>()});
    REQUIRE(readings.tokens == std::vector<Ids>{expected["ids"].get<Ids>()});
    const auto log_probabilities = expected["token_logprobs"].get<std::vector<double>>();
    REQUIRE(readings.nats.size() == 1);
    CHECK(readings.nats[0] == Approx(-estimate_mean(log_probabilities).value).margin(1e-4));
  }
}

TEST_CASE("texts of all lengths are judged together as each by itself, and those of less than two tokens not at all") {
  Judge judge = judge_of("gpt2");
  const Texts texts = {"Speak, speak.", "", "First Citizen", "a", "Speak, hear.", "First Citizen"};
  const Readings together = judge.read(texts);
  REQUIRE(together.tokens.size() == texts.size());
  REQUIRE(together.nats.size() == texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    const Readings alone = judge.read({texts[i]});
    CHECK(alone.tokens[0] == together.tokens[i]);
    if (alone.tokens[0].size() > 1) {
      CHECK(together.nats[i] == Approx(alone.nats[0]).epsilon(1e-5));
    } else {
      CHECK(std::isnan(together.nats[i]));
    }
  }
  CHECK(together.tokens[1].empty());
  CHECK(together.tokens[3].size() == 1);
}

TEST_CASE("windows are as long in pieces as they are asked for, one after the other") {
  const auto expected = expected_of("gpt2")["log_likelihood"]["texts"][0];
  const std::string text = expected["text"];
  const Judge judge = judge_of("gpt2");
  const HeldOutTexts windows = judge.held_out(text, 20, 5);
  REQUIRE(windows.reference.size() == windows.measured.size());
  const std::string first = windows.reference[0] + windows.measured[0];
  CHECK(text.compare(0, first.size(), first) == 0);
  // The cut may fall where pieces would have merged.
  CHECK(judge_of("gpt2").read({windows.reference[0]}).tokens[0].size() <= 20);
  CHECK_THROWS_AS(judge.held_out("short", 40, 1), demask::Error);
}

TEST_CASE("texts of pieces repeat themselves at another bound than texts of characters") {
  CHECK(judge_of("gpt2").least_distinct() == least_distinct_pieces);
}

TEST_CASE("a model that reads both ways is no judge") {
  CHECK_THROWS_AS(judge_of("mdlm"), demask::Error);
}

#include "sampling/score.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "checkpoint/read_model.h"
#include "model/device.h"
#include "model/transformer.h"
#include "tests/support/catch.h"
#include "tests/support/goldens.h"
#include "tests/unit/sampling/score_texts.h"
#include "tests/unit/sampling/table_model.h"

using namespace demask;
using namespace demask::testing;
using nlohmann::json;

namespace {

std::unique_ptr<Transformer> load_golden(const std::string& name, at::Device device) {
  return std::make_unique<Transformer>(
      read_model_folder(goldens + name + "/model", at::TensorOptions(at::kFloat).device(device)));
}

std::vector<at::Device> all_devices() {
  std::vector<at::Device> all = {at::kCPU};
  if (cuda_device_count() > 0) {
    all.emplace_back(at::kCUDA, at::DeviceIndex{0});
  }
  return all;
}

}  // namespace

TEST_CASE("GPT-2's texts are as likely as its own code says, token by token") {
  for (const at::Device device : all_devices()) {
    const auto model = load_golden("gpt2", device);
    const json texts = expected_of("gpt2")["log_likelihood"]["texts"];  // kept while the loop goes over it
    for (const json& text : texts) {
      std::vector<int64_t> ids = text["ids"];
      for (const char* expected : {"token_logprobs", "token_logprobs_with_bos"}) {
        const auto each = text[expected].get<std::vector<double>>();
        if (each.size() == ids.size()) {
          ids.insert(ids.begin(), 399);
        }
        const TextScore score = score_one(*model, text_of(ids, 1), options_for(ScoreMethod::exact));
        REQUIRE(score.each.size() == each.size());
        double sum = 0;
        for (size_t k = 0; k < each.size(); ++k) {
          CAPTURE(device.str(), k);
          CHECK(std::abs(score.each[k] - each[k]) < 1e-5);
          sum += each[k];
        }
        CHECK(std::abs(score.log_likelihood - sum) < 1e-5 * static_cast<double>(each.size()));
      }
    }
  }
}

TEST_CASE("LLaDA's draws are as likely as its get_log_likelihood says, with guidance and without") {
  for (const at::Device device : all_devices()) {
    for (const std::string name : {"llada", "llada-gqa"}) {
      const auto model = load_golden(name, device);
      CheckedModel checked(*model, name);
      const json expected = expected_of(name);
      for (const json& text : expected["log_likelihood"]["cases"]) {
        std::vector<int64_t> ids = text["prompt_ids"];
        const std::vector<int64_t> answer = text["answer_ids"];
        const auto given = static_cast<int64_t>(ids.size());
        ids.insert(ids.end(), answer.begin(), answer.end());
        ScoreOptions options = options_for(ScoreMethod::bound, expected["mask_token_id"]);
        options.cfg_scale = text["cfg_scale"];
        const at::Tensor tokens = at::tensor(ids).unsqueeze(0).to(device);
        const at::Tensor prompt = at::arange(tokens.size(1), tokens.options()).lt(given).unsqueeze(0);
        double sum = 0;
        for (size_t draw = 0; draw < text["draws"].size(); ++draw) {
          const std::vector<int64_t> masked = text["draws"][draw]["masked_positions"];
          const at::Tensor positions = at::tensor(masked).unsqueeze(0).to(device);
          const double weight = static_cast<double>(answer.size()) / static_cast<double>(masked.size());
          const double here =
              masked_log_probability(checked, tokens, positions,
                                     at::full_like(positions.narrow(1, 0, 1), positions.size(1)), prompt, options)
                  .to(at::kDouble)
                  .sum()
                  .item<double>() *
              weight;
          CAPTURE(name, draw, device.str());
          // Of float32 code each logit is within 1e-4; guidance multiplies the difference of two.
          CHECK(std::abs(here - text["per_draw"][draw].get<double>()) <
                1e-4 * (1 + 2 * options.cfg_scale) * static_cast<double>(answer.size()));
          sum += here;
        }
        const double mean = sum / static_cast<double>(text["draws"].size());
        CHECK(std::abs(mean - text["log_likelihood"].get<double>()) < 1e-3 * (1 + 2 * options.cfg_scale));
      }
    }
  }
}

TEST_CASE("Pseudo-likelihood masks each position alone") {
  TableModel model(7, 5, /*causal=*/false);
  const ScoreText text = text_of({1, 4, 2, 3, 3, 1, 2}, 2);
  const TextScore score = score_one(model, text, options_for(ScoreMethod::pseudo));
  REQUIRE(score.each.size() == 5);
  CHECK_FALSE(score.standard_error);
  double sum = 0;
  for (size_t place = 2; place < 7; ++place) {
    std::vector<int64_t> seen = text.tokens;
    seen[place] = 0;
    const double expected = log_probabilities(model, seen, text.tokens)[place];
    CHECK(score.each[place - 2] == Catch::Approx(expected).margin(1e-5));
    sum += expected;
  }
  CHECK(score.log_likelihood == Catch::Approx(sum).margin(1e-5));
}

TEST_CASE("A text longer than the block is judged in windows that show at least half a block of what is before") {
  constexpr int64_t block = 6;
  TableModel model(block, 5, /*causal=*/true, block);
  for (const size_t length : std::vector<size_t>{2, 6, 7, 8, 20, 25}) {
    std::vector<int64_t> tokens;
    for (size_t place = 0; place < length; ++place) {
      tokens.push_back(static_cast<int64_t>(place * place % 5));
    }
    for (const size_t given : {size_t{1}, length / 2 + 1, length - 1}) {
      if (given >= length) {
        continue;
      }
      const TextScore score = score_one(model, text_of(tokens, given), options_for(ScoreMethod::exact));
      REQUIRE(score.each.size() == length - given);
      for (size_t place = given; place < length; ++place) {
        bool found = false;
        for (size_t seen = std::min<size_t>(place, block / 2); seen <= std::min<size_t>(place, block); ++seen) {
          const auto end = tokens.begin() + static_cast<std::ptrdiff_t>(place);
          const std::vector<int64_t> before(end - static_cast<std::ptrdiff_t>(seen), end);
          std::vector<int64_t> wanted(before.size(), tokens[place]);
          found = found || std::abs(log_probabilities(model, before, wanted).back() - score.each[place - given]) < 1e-5;
        }
        CAPTURE(length, given, place);
        CHECK(found);
      }
    }
  }
}

TEST_CASE("A text's score does not depend on the texts beside it or on how many rows a forward has") {
  TableModel causal(9, 6, /*causal=*/true, 9), whole(9, 6, /*causal=*/false, 9);
  const std::vector<ScoreText> texts = {text_of({1, 2, 3}, 1, 0), text_of({1, 2, 3, 4, 5, 1, 2, 3, 4}, 2, 1),
                                        text_of({5, 4}, 1, 2), text_of({3, 3, 3, 2, 1, 1, 2, 3, 4}, 1, 3)};
  for (const ScoreMethod method : {ScoreMethod::exact, ScoreMethod::bound, ScoreMethod::pseudo}) {
    CheckedModel model(method == ScoreMethod::exact ? causal : whole, "model");
    ScoreOptions options = options_for(method, 0, 10);
    const std::vector<TextScore> together = Scorer(model, options).score(texts);
    options.most_rows = 3;
    const std::vector<TextScore> in_threes = Scorer(model, options).score(texts);
    for (size_t k = 0; k < texts.size(); ++k) {
      const TextScore alone = Scorer(model, options).score({texts[k]}).at(0);
      CAPTURE(name_of(method), k);
      CHECK(together[k].log_likelihood == alone.log_likelihood);
      CHECK(in_threes[k].log_likelihood == alone.log_likelihood);
      CHECK(together[k].standard_error == alone.standard_error);
      CHECK(together[k].each == alone.each);
    }
  }
}

TEST_CASE("The CPU's kernels too give a text the same score in any batch") {
  const auto gpt = load_golden("gpt2", at::kCPU), llada = load_golden("llada", at::kCPU);
  std::vector<ScoreText> texts;
  for (int64_t index = 0; index < 9; ++index) {
    std::vector<int64_t> tokens;
    for (int64_t place = 0; place < 5 + 9 * index; ++place) {
      tokens.push_back((place * 37 + index * 11) % 300);
    }
    texts.push_back(text_of(tokens, 1, index));
  }
  for (const ScoreMethod method : {ScoreMethod::exact, ScoreMethod::bound}) {
    CheckedModel model(method == ScoreMethod::exact ? *gpt : *llada, "model");
    const ScoreOptions options = options_for(method, 352, 8);
    const std::vector<TextScore> together = Scorer(model, options).score(texts);
    for (size_t k = 0; k < texts.size(); ++k) {
      CAPTURE(name_of(method), k);
      CHECK(together[k].each == Scorer(model, options).score({texts[k]}).at(0).each);
    }
  }
}

TEST_CASE("Rows of a forward are at most what is asked for, about as many in each, and are halved from the last on") {
  TableModel model(6, 5, /*causal=*/false);
  CheckedModel checked(model, "model");
  ScoreOptions options = options_for(ScoreMethod::bound, 0, 20);
  options.most_rows = 8;
  Scorer scorer(checked, options);
  const ScoreText text = text_of({1, 4, 2, 3, 3, 1}, 0);
  const double expected = scorer.score({text}).at(0).log_likelihood;
  CHECK(model.rows_seen == 7);  // 7, 7, and 6
  CHECK(scorer.forwards() == 3);
  CHECK(scorer.rows_of(text) == 20);
  model.rows_seen = 0;
  scorer.try_forward(text, 2);
  CHECK(model.rows_seen == 2);
  REQUIRE(scorer.halve_rows());
  model.rows_seen = 0;
  CHECK(scorer.score({text}).at(0).log_likelihood == expected);
  CHECK(model.rows_seen == 3);
}

TEST_CASE(
    "A model that judges tokens scores texts as one that gives logits, which it is asked for only to guide them") {
  for (const ScoreMethod method : {ScoreMethod::exact, ScoreMethod::bound, ScoreMethod::pseudo}) {
    for (const double cfg_scale : {0.0, 0.5}) {
      const bool causal = method == ScoreMethod::exact;
      TableModel giving(6, 5, causal);
      JudgingModel judging(6, 5, causal);
      ScoreOptions options = options_for(method, 0, 20);
      options.cfg_scale = cfg_scale;
      CheckedModel by_logits(giving, "model"), by_itself(judging, "model");
      const ScoreText text = text_of({1, 4, 2, 3, 3, 1}, 2);
      CAPTURE(name_of(method), cfg_scale);
      CHECK(Scorer(by_itself, options).score({text}).at(0).each == Scorer(by_logits, options).score({text}).at(0).each);
      CHECK((judging.logits_made > 0) == (!causal && cfg_scale > 0));
    }
  }
}

TEST_CASE("What cannot be scored is refused") {
  TableModel causal(4, 5, /*causal=*/true);
  CheckedModel model(causal, "model");
  Scorer scorer(model, options_for(ScoreMethod::exact));
  CHECK_THROWS_AS(scorer.score({text_of({1, 2}, 0)}), c10::ValueError);
  CHECK_THROWS_AS(scorer.score({text_of({1, 2}, 2)}), c10::ValueError);
  CHECK_THROWS_AS(scorer.score({text_of({}, 0)}), c10::ValueError);
}

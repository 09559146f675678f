// Traces against what an observer saw, with probabilities worked out in float64.
#include "sampling/step_tracer.h"

#include <ATen/ATen.h>

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "sampling/autoregressive_sampler.h"
#include "sampling/diffusion_sampler.h"
#include "tests/support/catch.h"
#include "tests/unit/sampling/fake_model.h"
#include "tests/unit/sampling/policies.h"

using namespace demask;
using demask::testing::FixedLogits;

namespace {

constexpr int64_t mask = 5, length = 12;

// Logits that change with the text, as a model's do.
class TextLogits : public LanguageModel {
 public:
  explicit TextLogits(int64_t outputs) { info_.output_size = outputs; }
  const ModelInfo& info() const override { return info_; }
  at::Device device() const override { return at::kCPU; }
  at::Tensor logits(const at::Tensor& tokens) override {
    const at::Tensor context = tokens.to(at::kFloat).cumsum(1) + tokens.sum(1, /*keepdim=*/true);
    return (context.unsqueeze(2) * at::arange(1, info_.output_size + 1, at::kFloat) * 0.7).sin() * 3;
  }

 private:
  ModelInfo info_;
};

// Everything that was shown, step after step.
class Witness : public Observer {
 public:
  void on_step(const StepView& view) override { views.push_back(view); }
  std::vector<StepView> views;
};

DiffusionOptions options_for(MaskSchedule schedule, bool judged) {
  DiffusionOptions options;
  options.plan = plan_by(std::move(schedule), judged);
  options.mask_token_id = mask;
  options.forbidden = at::zeros({mask + 1});
  options.forbidden[mask] = -std::numeric_limits<float>::infinity();
  return options;
}

Template free_after(int64_t given) {
  Template text{std::vector<int64_t>(length, mask), std::vector<bool>(length, false)};
  for (size_t t = 0; t < static_cast<size_t>(given); ++t) {
    text.tokens[t] = 1;
    text.fixed[t] = true;
  }
  return text;
}

std::vector<DiffusionTask> tracing(std::vector<DiffusionTask> tasks, const std::vector<size_t>& traced) {
  for (const size_t row : traced) {
    tasks[row].traced = true;
  }
  return tasks;
}

at::Tensor probability(const at::Tensor& logits, const at::Tensor& tokens) {
  return at::softmax(logits.to(at::kDouble), -1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1);
}

void check_near(const at::Tensor& left, const at::Tensor& right) {
  CAPTURE(left, right);
  CHECK(at::allclose(left.to(at::kDouble), right.to(at::kDouble), /*rtol=*/0, /*atol=*/1e-6, /*equal_nan=*/true));
}

// The trace of a row tells what the witness saw, and what the model thought.
void check_trace(const StepTrace& trace, const Witness& witness, int64_t row) {
  REQUIRE(trace.filled.size(0) == static_cast<int64_t>(witness.views.size()));
  for (int64_t s = 0; s < trace.filled.size(0); ++s) {
    CAPTURE(s);
    const StepView& view = witness.views[static_cast<size_t>(s)];
    const at::Tensor filled = view.filled[row], unknown = filled == mask;
    CHECK(at::equal(trace.filled[s], filled));
    CHECK(at::equal(trace.masked[s], view.after[row] == mask));
    check_near(trace.confidence[s],
               probability(view.logits[row], filled.masked_fill(unknown, 0)).masked_fill(unknown, 0));
    const at::Tensor all = at::softmax(view.logits[row].to(at::kDouble), -1);
    const auto [top, ids] = all.narrow(1, 0, mask).topk(traced_likeliest, 1);  // the mask is never drawn
    check_near(trace.likeliest_probabilities[s], top);
    check_near(all.gather(1, trace.likeliest[s]), top);
  }
}

}  // namespace

TEST_CASE("A trace tells what each step drew, masked again and thought of it, and changes no sample") {
  TextLogits fake(mask + 1);
  CheckedModel model(fake, "fake");
  const auto policy = testing::self_confidence(0.3);
  const DiffusionOptions options = options_for(MaskSchedule::linear(6, 0.9, 0.1), /*judged=*/true);
  const Template text = free_after(2);
  const std::vector<DiffusionTask> plain = consecutive({1337, 0}, 4, text);
  const std::vector<DrawnSample> expected = DiffusionSampler(model, *policy, options).sample(plain, nullptr);
  DiffusionSampler sampler(model, *policy, options);
  for (const std::vector<size_t>& traced : std::vector<std::vector<size_t>>{{0}, {1, 2}, {0, 3}, {0, 1, 2, 3}, {}}) {
    Witness witness;
    const std::vector<DrawnSample> samples = sampler.sample(tracing(plain, traced), &witness);
    for (size_t row = 0; row < samples.size(); ++row) {
      CAPTURE(traced, row);
      CHECK(samples[row].tokens == expected[row].tokens);
      CHECK(samples[row].self_confidence == expected[row].self_confidence);
      const bool wanted = std::find(traced.begin(), traced.end(), row) != traced.end();
      REQUIRE((samples[row].trace != nullptr) == wanted);
      if (!wanted) {
        continue;
      }
      const StepTrace& trace = *samples[row].trace;
      check_trace(trace, witness, static_cast<int64_t>(row));
      for (int64_t s = 0; s < trace.filled.size(0); ++s) {
        const at::Tensor filled = trace.filled[s];
        // A step that masks nothing again is not judged.
        const at::Tensor judged = !trace.masked[s].any().item<bool>()
                                      ? at::full({length}, std::numeric_limits<double>::quiet_NaN(), at::kDouble)
                                      : probability(fake.logits(filled.unsqueeze(0))[0], filled);
        check_near(trace.judged[s], judged);
        CHECK(trace.scheduled[static_cast<size_t>(s)] == trace.masked[s].sum().item<int64_t>());
      }
      const at::Tensor finished = at::tensor(samples[row].tokens, at::kLong);
      check_near(trace.final_confidence, probability(fake.logits(finished.unsqueeze(0))[0], finished));
    }
  }
}

TEST_CASE("A trace is the same without an observer, where steps may be recorded") {
  TextLogits fake(mask + 1);
  CheckedModel model(fake, "fake");
  const auto policy = testing::random_remasking();
  DiffusionSampler sampler(model, *policy, options_for(MaskSchedule::linear(5, 0.9, 0.1), /*judged=*/false));
  const Template text = free_after(0);
  const std::vector<DiffusionTask> tasks = tracing(consecutive({7, 0}, 2, text), {1});
  Witness witness;
  sampler.sample(tasks, &witness);
  const std::vector<DrawnSample> alone = sampler.sample(tasks, nullptr);
  check_trace(*alone[1].trace, witness, 1);
  CHECK_FALSE(alone[1].trace->judged.defined());
}

TEST_CASE("What a remasking model thinks of each token is traced where it judges") {
  TextLogits fake(mask + 1), judge(2);
  CheckedModel model(fake, "fake"), watched_judge(judge, "judge");
  const auto remasking =
      testing::policy_by_model("remask", watched_judge, PositiveClass::wrong, {{"randomness_strength", 0.2}});
  const auto planner = testing::policy_by_model("planner", watched_judge, PositiveClass::wrong, {{"eta", 1.0}});
  for (RevealPolicy* policy : std::vector<RevealPolicy*>{remasking.get(), planner.get()}) {
    DiffusionSampler sampler(model, *policy, options_for(MaskSchedule::linear(4, 0.9, 0.1), /*judged=*/true));
    const Template text = free_after(1);
    const StepTrace trace = *sampler.sample(tracing(consecutive({3, 0}, 3, text), {2}), nullptr)[2].trace;
    for (int64_t s = 0; s + 1 < trace.filled.size(0); ++s) {
      const at::Tensor classes = at::softmax(judge.logits(trace.filled[s].unsqueeze(0)).to(at::kDouble), -1)[0];
      check_near(trace.judged[s], classes.select(1, 0));
    }
  }
}

TEST_CASE("In blocks, positions whose turn has not come are masks without confidence") {
  TextLogits fake(mask + 1);
  CheckedModel model(fake, "fake");
  const auto policy = testing::threshold(0.9);
  DiffusionOptions options = options_for(MaskSchedule::linear(4, 0.9, 0.1), /*judged=*/false);
  options.block_length = 4;
  options.plan = [](const Stream& /*stream*/, int64_t free) {
    Pace pace;
    pace.steps = 12;
    pace.schedule = [](int64_t count) { return MaskSchedule::even(count); };
    pace.block_length = 4;
    pace.reveals_only = true;
    return open_plan(pace, free);
  };
  DiffusionSampler sampler(model, *policy, options);
  const Template text = free_after(0);
  Witness witness;
  const std::vector<DrawnSample> samples = sampler.sample(tracing(consecutive({11, 0}, 2, text), {0}), &witness);
  const StepTrace& trace = *samples[0].trace;
  check_trace(trace, witness, 0);
  CHECK((trace.filled[0].narrow(0, 4, 8) == mask).all().item<bool>());
  CHECK((trace.confidence[0].narrow(0, 4, 8) == 0).all().item<bool>());
  CHECK(trace.scheduled.empty());
}

TEST_CASE("The likeliest tokens come with the lower id first among equals, and what cannot be drawn comes last") {
  constexpr double inf = std::numeric_limits<double>::infinity();
  const at::Tensor forbidden = at::tensor({-inf, 0.0, 0.0, 0.0, -inf}, at::kFloat);
  const at::Tensor logits =
      at::tensor({5.0, 1.0, 2.0, 2.0, 7.0, 5.0, 2.0, 2.0, 2.0, 9.0, 5.0, -inf, -inf, 0.0, 3.0}, at::kFloat)
          .view({3, 5});
  const kernels::TraceTables tables = make_trace_tables({2, 3}, forbidden, /*with_text=*/true);
  trace_step(at::tensor({1}, at::kLong), logits, at::tensor({2, 1, 3}, at::kLong),
             at::tensor({1, 0, 1}, at::kLong).to(at::kBool), forbidden, tables);
  CHECK(at::equal(tables.likeliest[1], at::tensor({2, 3, 1, 1, 2, 3, 3, 0, 1}, at::kLong).view({3, 3})));
  CHECK(at::equal(tables.tokens[1], at::tensor({2, 1, 3}, at::kLong)));
  CHECK(at::equal(tables.masked[1], at::tensor({1, 0, 1}, at::kLong).to(at::kBool)));
  check_near(tables.likeliest_probabilities[1],
             at::softmax(logits.to(at::kDouble), -1).gather(-1, tables.likeliest[1]));
  check_near(tables.confidence[1], probability(logits, tables.tokens[1]));
  for (const at::Tensor& table : {tables.tokens, tables.masked, tables.confidence, tables.likeliest}) {
    CHECK_FALSE(table[0].any().item<bool>());  // the other slot is as it was
  }
}

TEST_CASE("A large vocabulary is traced alike") {
  constexpr int64_t vocabulary = 1 << 18, steps = 3;
  at::Tensor logits = at::zeros({length, vocabulary});
  logits.select(1, 7).fill_(15);
  logits.select(1, 9).fill_(14);
  FixedLogits fake(logits);
  CheckedModel model(fake, "fake");
  const auto policy = testing::random_remasking();
  DiffusionOptions options = options_for(MaskSchedule::linear(steps, 0.9, 0.1), /*judged=*/false);
  options.mask_token_id = vocabulary - 1;
  options.forbidden = at::zeros({vocabulary});
  Template text = free_after(0);
  text.tokens.assign(length, vocabulary - 1);
  const StepTrace trace =
      *DiffusionSampler(model, *policy, options).sample(tracing(consecutive({5, 0}, 1, text), {0}), nullptr)[0].trace;
  constexpr double tolerance = 2e-3;  // of LibTorch's softmax over so many in float32
  const double all = std::exp(15.0) + std::exp(14.0) + (vocabulary - 2);
  CHECK((trace.likeliest.select(2, 0) == 7).all().item<bool>());
  CHECK((trace.likeliest.select(2, 1) == 9).all().item<bool>());
  CHECK(at::allclose(trace.likeliest_probabilities.select(2, 0).to(at::kDouble),
                     at::full({steps, length}, std::exp(15.0) / all, at::kDouble), tolerance, 0));
  const at::Tensor expected = at::full({steps, length}, 1 / all, at::kDouble)
                                  .masked_fill(trace.filled == 7, std::exp(15.0) / all)
                                  .masked_fill(trace.filled == 9, std::exp(14.0) / all);
  CHECK(at::allclose(trace.confidence.to(at::kDouble), expected, tolerance, 0));
}

TEST_CASE("A trace of standard sampling has each token's probability after those before it") {
  TextLogits fake(4);
  CheckedModel model(fake, "fake");
  AutoregressiveSampler sampler(model, {DrawOptions{}, at::zeros({4}), {0, 1, 2, 3}});
  const std::vector<std::vector<int64_t>> prompts = {{3, 1}, {0, 1, 2, 3, 3}, {}};
  std::vector<AutoregressiveTask> tasks;
  for (size_t b = 0; b < prompts.size(); ++b) {
    tasks.push_back({{9, static_cast<int64_t>(b)}, &prompts[b], 6 + static_cast<int64_t>(b), b != 0});
  }
  const std::vector<DrawnSample> samples = sampler.sample(tasks, nullptr);
  CHECK(samples[0].trace == nullptr);
  for (size_t b = 1; b < prompts.size(); ++b) {
    const at::Tensor tokens = at::tensor(samples[b].tokens, at::kLong);
    const int64_t given = std::max<int64_t>(1, static_cast<int64_t>(prompts[b].size())), drawn = tokens.size(0) - given;
    const StepTrace& trace = *samples[b].trace;
    CHECK(at::equal(trace.filled[0], tokens));
    // The logits of a prefix are those of its last position.
    const at::Tensor logits = at::cat([&] {
      std::vector<at::Tensor> rows;
      for (int64_t end = given; end < tokens.size(0); ++end) {
        rows.push_back(fake.logits(tokens.narrow(0, 0, end).unsqueeze(0))[0].narrow(0, end - 1, 1));
      }
      return rows;
    }());
    check_near(trace.confidence[0].narrow(0, given, drawn), probability(logits, tokens.narrow(0, given, drawn)));
    CHECK((trace.confidence[0].narrow(0, 0, given) == 0).all().item<bool>());
    check_near(trace.likeliest_probabilities[0].narrow(0, given, drawn),
               std::get<0>(at::softmax(logits.to(at::kDouble), -1).topk(traced_likeliest, 1)));
  }
}

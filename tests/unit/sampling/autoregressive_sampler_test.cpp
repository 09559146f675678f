#include "sampling/autoregressive_sampler.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "kernels/cpu.h"
#include "model/device.h"
#include "model/transformer.h"
#include "tests/support/catch.h"
#include "tests/unit/model/small_gpt.h"
#include "tests/unit/sampling/fake_model.h"

using namespace demask;
using demask::testing::FixedLogits;
using demask::testing::small_gpt;
using demask::testing::with_dtype;

namespace {

const AutoregressiveOptions options{DrawOptions{}, at::zeros({4}), {0, 1, 2}};
const std::vector<int64_t> no_prompt;

std::vector<AutoregressiveTask> tasks(int64_t first, int64_t count, int64_t new_tokens,
                                      const std::vector<int64_t>& prompt = no_prompt) {
  return consecutive({1337, first}, count, prompt, new_tokens);
}

AutoregressiveOptions options_for(const LanguageModel& model) {
  return {DrawOptions{}, at::zeros({model.info().output_size}, model.device()), {0, 1, 2}};
}

std::vector<AutoregressiveTask> tasks_of(const std::vector<std::vector<int64_t>>& prompts,
                                         const std::vector<int64_t>& new_tokens) {
  std::vector<AutoregressiveTask> tasks;
  for (size_t b = 0; b < prompts.size(); ++b) {
    tasks.push_back({{1337, static_cast<int64_t>(b)}, &prompts[b], new_tokens[b]});
  }
  return tasks;
}

std::vector<int64_t> some_tokens(int64_t count, int64_t first, int64_t ids) {
  std::vector<int64_t> tokens;
  for (int64_t t = 0; t < count; ++t) {
    tokens.push_back((first + 7 * t * t) % ids);
  }
  return tokens;
}

// A model whose logits the test chose, whose every kind can be had.
class KindOfModel : public LanguageModel {
 public:
  KindOfModel(int64_t outputs, bool causal, bool every_position) {
    info_.output_size = outputs;
    info_.causal = causal;
    info_.every_position = every_position;
  }
  const ModelInfo& info() const override { return info_; }
  at::Device device() const override { return at::kCPU; }
  at::Tensor logits(const at::Tensor& tokens) override {
    seen.push_back(tokens.sizes().vec());
    at::Tensor context = tokens.to(at::kFloat).cumsum(1);
    if (!info_.causal) {
      context = context + tokens.sum(1, /*keepdim=*/true);
    }
    const at::Tensor all = (context.unsqueeze(2) * at::arange(1, info_.output_size + 1, at::kFloat) * 0.7).sin() * 3;
    return info_.every_position ? all : all.narrow(1, all.size(1) - 1, 1);
  }

  std::vector<std::vector<int64_t>> seen;  // [B, T]

 private:
  ModelInfo info_;
};

// log p(tokens[t]) by a forward in float64 on the last `block` tokens before it.
double log_probability_of(LanguageModel& model, const std::vector<int64_t>& tokens, int64_t t, int64_t block) {
  const int64_t first = std::max<int64_t>(0, t - block);
  const at::Tensor context = at::tensor(tokens, at::kLong).narrow(0, first, t - first).unsqueeze(0).to(model.device());
  const at::Tensor logits = model.logits(context)[0].select(0, -1).to(at::kDouble);
  return at::log_softmax(logits, 0)[tokens[static_cast<size_t>(t)]].item<double>();
}

std::vector<at::Device> devices() {
  return cuda_device_count() > 0 ? std::vector<at::Device>{at::kCPU, at::kCUDA} : std::vector<at::Device>{at::kCPU};
}

double tolerance(at::Device device) {
  return device.is_cpu() ? 1e-5 : 1e-4;
}

NanoGptCheckpoint on_device(NanoGptCheckpoint checkpoint, at::Device device) {
  for (auto& [name, parameter] : checkpoint.parameters) {
    parameter = parameter.to(device);
  }
  return checkpoint;
}

}  // namespace

TEST_CASE("A sample is its prompt and the tokens after it") {
  FixedLogits fake(at::zeros({10, 4}));
  CheckedModel model(fake, "fake");
  const std::vector<DrawnSample> samples =
      AutoregressiveSampler(model, options).sample(tasks(2, 2, 5, {3, 1}), nullptr);
  REQUIRE(samples.size() == 2);
  CHECK(samples[1].index == 3);
  CHECK(samples[0].tokens.size() == 7);
  CHECK(samples[0].tokens[0] == 3);
  CHECK(samples[0].tokens[1] == 1);
  CHECK(samples[0].tokens != samples[1].tokens);
}

TEST_CASE("Without a prompt each sample starts from its own allowed character") {
  FixedLogits fake(at::zeros({10, 4}));
  CheckedModel model(fake, "fake");
  std::set<int64_t> first;
  for (const DrawnSample& sample : AutoregressiveSampler(model, options).sample(tasks(0, 64, 1), nullptr)) {
    CHECK(sample.tokens.size() == 2);
    first.insert(sample.tokens[0]);
  }
  CHECK(first == std::set<int64_t>{0, 1, 2});
}

TEST_CASE("A sample drawn alone is the one drawn in a batch") {
  FixedLogits fake(at::arange(48, at::kFloat).view({12, 4}).sin());
  CheckedModel model(fake, "fake");
  AutoregressiveSampler sampler(model, options);
  CHECK(sampler.sample(tasks(0, 8, 10), nullptr)[5].tokens == sampler.sample(tasks(5, 1, 10), nullptr)[0].tokens);
}

TEST_CASE("Prompts and lengths of every size in one batch give what each gives alone") {
  FixedLogits fake(at::arange(80, at::kFloat).view({20, 4}).sin());
  CheckedModel model(fake, "fake");
  const std::vector<std::vector<int64_t>> prompts = {{3, 1}, {}, {0, 1, 2, 3, 3, 2, 1}, {2}, {1, 1, 0}};
  const std::vector<int64_t> new_tokens = {3, 9, 2, 12, 1};
  std::vector<AutoregressiveTask> together;
  for (size_t b = 0; b < prompts.size(); ++b) {
    together.push_back({{b % 2 == 0 ? 7U : 8U, static_cast<int64_t>(3 * b)}, &prompts[b], new_tokens[b]});
  }
  AutoregressiveSampler sampler(model, options);
  const std::vector<DrawnSample> samples = sampler.sample(together, nullptr);
  for (size_t b = 0; b < prompts.size(); ++b) {
    CAPTURE(b);
    const DrawnSample alone = AutoregressiveSampler(model, options).sample({together[b]}, nullptr)[0];
    CHECK(samples[b].tokens == alone.tokens);
    CHECK(samples[b].self_confidence == alone.self_confidence);
    CHECK(static_cast<int64_t>(alone.tokens.size()) ==
          static_cast<int64_t>(std::max<size_t>(prompts[b].size(), 1)) + new_tokens[b]);
    CHECK(std::equal(prompts[b].begin(), prompts[b].end(), alone.tokens.begin()));
  }
}

TEST_CASE("Self-confidence is the mean of each token's log probability after those before it, the prompt's too") {
  const NanoGptCheckpoint checkpoint = small_gpt(/*block_size=*/64, /*vocabulary=*/50);
  Transformer exact(nanogpt_weights(with_dtype(checkpoint, at::kDouble)));
  const std::vector<std::vector<int64_t>> prompts = {
      some_tokens(30, 3, 50), some_tokens(30, 3, 50), {}, some_tokens(2, 9, 50), some_tokens(40, 3, 50)};
  const std::vector<int64_t> new_tokens = {30, 34, 5, 17, 1};
  for (const at::Device device : devices()) {
    for (const KernelChoice kernels : {KernelChoice::own, KernelChoice::libtorch}) {
      Transformer gpt(nanogpt_weights(on_device(checkpoint, device)), {}, kernels);
      CheckedModel model(gpt, "gpt");
      AutoregressiveSampler sampler(model, options_for(gpt));
      for (int run = 0; run < 2; ++run) {  // the second may find the first one's memory
        for (const DrawnSample& sample : sampler.sample(tasks_of(prompts, new_tokens), nullptr)) {
          CAPTURE(device.str(), kernels, sample.index);
          const auto length = static_cast<int64_t>(sample.tokens.size());
          // One forward in float64 on the finished text.
          const at::Tensor text = at::tensor(sample.tokens, at::kLong);
          const at::Tensor each = at::log_softmax(exact.logits(text.narrow(0, 0, length - 1).unsqueeze(0))[0], -1)
                                      .gather(1, text.narrow(0, 1, length - 1).unsqueeze(1));
          CHECK(sample.self_confidence == Catch::Approx(each.mean().item<double>()).margin(tolerance(device)));
        }
      }
    }
  }
}

TEST_CASE("Past the block a token counts as it was drawn, and a prompt as far as a block stands before its tokens") {
  constexpr int64_t block = 16;
  const NanoGptCheckpoint checkpoint = small_gpt(block, /*vocabulary=*/50);
  Transformer exact(nanogpt_weights(with_dtype(checkpoint, at::kDouble)));
  const std::vector<std::vector<std::vector<int64_t>>> batches = {
      {some_tokens(20, 3, 50), some_tokens(20, 3, 50), some_tokens(20, 4, 50)},
      {some_tokens(16, 3, 50)},
      {some_tokens(17, 3, 50)},
      {some_tokens(40, 3, 50), some_tokens(5, 3, 50), {}}};
  for (const at::Device device : devices()) {
    for (const KernelChoice kernels : {KernelChoice::own, KernelChoice::libtorch}) {
      Transformer gpt(nanogpt_weights(on_device(checkpoint, device)), {}, kernels);
      CheckedModel model(gpt, "gpt");
      for (const auto& prompts : batches) {
        AutoregressiveSampler sampler(model, options_for(gpt));
        const std::vector<DrawnSample> samples = sampler.sample(tasks_of(prompts, {9, 9, 30}), nullptr);
        for (size_t b = 0; b < prompts.size(); ++b) {
          CAPTURE(device.str(), kernels, prompts.front().size(), b);
          const auto given = static_cast<int64_t>(prompts[b].size());
          double sum = 0;
          int64_t count = 0;
          for (int64_t t = 1; t < static_cast<int64_t>(samples[b].tokens.size()); ++t) {
            if (t <= block || t >= given) {
              sum += log_probability_of(exact, samples[b].tokens, t, block);
              ++count;
            }
          }
          CHECK(samples[b].self_confidence ==
                Catch::Approx(sum / static_cast<double>(count)).margin(tolerance(device)));
          const DrawnSample alone =
              AutoregressiveSampler(model, options_for(gpt)).sample({tasks_of(prompts, {9, 9, 30})[b]}, nullptr)[0];
          CHECK(samples[b].tokens == alone.tokens);
          CHECK(samples[b].self_confidence == Catch::Approx(alone.self_confidence).margin(tolerance(device)));
        }
      }
    }
  }
}

TEST_CASE("On the CPU a sample has the same bits whatever begins like it, beside it") {
  std::vector<at::ScalarType> dtypes = {at::kFloat};
  if (kernels::cpu::find(at::kFloat) == nullptr) {
    return;  // LibTorch's products round by the number of positions
  }
  if (kernels::cpu::find(at::kBFloat16) != nullptr) {
    dtypes.push_back(at::kBFloat16);
  }
  const std::vector<std::vector<int64_t>> prompts = {some_tokens(90, 3, 50), some_tokens(90, 5, 50),
                                                     some_tokens(90, 3, 50), some_tokens(33, 3, 50),
                                                     some_tokens(90, 3, 50), some_tokens(33, 5, 50)};
  const std::vector<int64_t> new_tokens = {20, 20, 38, 9, 1, 70};
  for (const at::ScalarType dtype : dtypes) {
    Transformer gpt(nanogpt_weights(with_dtype(small_gpt(/*block_size=*/100, /*vocabulary=*/50), dtype)));
    CheckedModel model(gpt, "gpt");
    const std::vector<AutoregressiveTask> all = tasks_of(prompts, new_tokens);
    std::vector<DrawnSample> alone;
    for (const AutoregressiveTask& task : all) {
      alone.push_back(AutoregressiveSampler(model, options_for(gpt)).sample({task}, nullptr)[0]);
    }
    for (const std::vector<size_t>& batch :
         std::vector<std::vector<size_t>>{{0, 2}, {0, 2, 4}, {1, 0, 2, 4}, {3, 5}, {0, 1, 2, 3, 4, 5}, {5, 4, 3, 2}}) {
      std::vector<AutoregressiveTask> together;
      for (const size_t b : batch) {
        together.push_back(all[b]);
      }
      const std::vector<DrawnSample> samples = AutoregressiveSampler(model, options_for(gpt)).sample(together, nullptr);
      for (size_t k = 0; k < batch.size(); ++k) {
        CAPTURE(dtype, batch, batch[k]);
        CHECK(samples[k].tokens == alone[batch[k]].tokens);
        CHECK(samples[k].self_confidence == alone[batch[k]].self_confidence);
      }
    }
  }
}

TEST_CASE("Prompts that begin alike are read once, and no forward is made for the self-confidence") {
  using Shapes = std::vector<std::vector<int64_t>>;
  KindOfModel fake(4, /*causal=*/true, /*every_position=*/true);
  CheckedModel model(fake, "fake");
  AutoregressiveSampler sampler(model, options);
  sampler.sample(tasks(0, 3, 2, {3, 1, 2}), nullptr);
  CHECK(fake.seen == Shapes{{1, 3}, {3, 4}});
  CHECK(sampler.forwards() == 2);
  fake.seen.clear();
  sampler.sample(tasks_of({{3, 1, 2}, {0, 1, 2}, {3, 1, 2, 2}, {0, 1, 2}}, {2, 2, 1, 2}), nullptr);
  CHECK(fake.seen == Shapes{{2, 3}, {4, 4}});
  CHECK(sampler.forwards() == 4);
}

TEST_CASE("By a model that is bidirectional or gives the last position only, the drawn tokens alone count") {
  for (const auto& [causal, every_position] :
       std::vector<std::pair<bool, bool>>{{false, true}, {false, false}, {true, false}}) {
    KindOfModel fake(4, causal, every_position);
    CheckedModel model(fake, "fake");
    AutoregressiveSampler sampler(model, options);
    const std::vector<std::vector<int64_t>> prompts = {{3, 1, 2}, {0}, {3, 1, 2, 2, 1}, {3, 1, 2}};
    const std::vector<DrawnSample> samples = sampler.sample(tasks_of(prompts, {2, 7, 1, 5}), nullptr);
    CHECK(sampler.forwards() == 7);
    CHECK(fake.seen.size() == 7);
    for (size_t b = 0; b < prompts.size(); ++b) {
      CAPTURE(causal, every_position, b);
      const auto given = static_cast<int64_t>(prompts[b].size()),
                 length = static_cast<int64_t>(samples[b].tokens.size());
      double sum = 0;
      for (int64_t t = given; t < length; ++t) {
        sum += log_probability_of(fake, samples[b].tokens, t, length);
      }
      CHECK(samples[b].self_confidence == Catch::Approx(sum / static_cast<double>(length - given)).margin(1e-5));
    }
  }
}

TEST_CASE("A prompt that the model gives no finite logits for is refused, though no token is drawn from them") {
  at::Tensor logits = at::zeros({10, 4});
  logits[0][1] = std::nanf("");
  FixedLogits fake(logits, /*causal=*/true);
  CheckedModel model(fake, "fake");
  CHECK_THROWS_AS(AutoregressiveSampler(model, options).sample(tasks(0, 2, 4, {3, 1, 2}), nullptr), Error);
}

TEST_CASE("Trying a step reads the prompts and draws the last token, which takes the most, and counts no forward") {
  for (const bool causal : {true, false}) {
    KindOfModel fake(4, causal, /*every_position=*/true);
    CheckedModel model(fake, "fake");
    AutoregressiveSampler sampler(model, options);
    sampler.try_step(tasks(0, 3, 6, {3, 1, 2}));
    CHECK(fake.seen.front() == std::vector<int64_t>{causal ? 1 : 3, 3});
    CHECK(fake.seen.back() == std::vector<int64_t>{3, 8});
    CHECK(sampler.forwards() == 0);
    sampler.try_step(tasks(0, 2, 1, {3}));  // nothing but the first step
    CHECK(sampler.sample(tasks(0, 3, 6, {3, 1, 2}), nullptr).size() == 3);
  }
}

TEST_CASE("A text that outgrows the block is announced with the token from which each takes a whole forward") {
  ModelInfo info;
  info.block_size = 16;
  info.keeps_cache = true;
  CHECK_FALSE(outgrowing_notice(info, "m.pt", /*given=*/4, /*length=*/17));  // the 17th is drawn from all 16 before it
  const std::string text = outgrowing_notice(info, "m.pt", 4, 18).value_or("");
  for (const char* words : {"'m.pt'", "token 18", "16", "--max_new_tokens=13"}) {
    CAPTURE(text, words);
    CHECK(text.find(words) != std::string::npos);
  }
  CHECK(outgrowing_notice(info, "m.pt", 30, 40).value_or("").find("--max_new_tokens") == std::string::npos);
  info.keeps_cache = false;
  CHECK_FALSE(outgrowing_notice(info, "m.pt", 4, 18));  // every token took a whole forward before
}

// The joint draw over flat tables, as CUDA's kernels do it, against the host's own and against enumeration; on CUDA as
// well where it is.
#include "sampling/device_patterns.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "kernels/cuda.h"
#include "model/device.h"
#include "sampling/diffusion_sampler.h"
#include "sampling/matching_draw.h"
#include "sampling/pattern_proof.h"
#include "sampling/token_draw.h"
#include "tests/support/catch.h"
#include "tests/unit/sampling/pattern_on_host.h"
#include "tests/unit/sampling/policies.h"
#include "text/character_vocabulary.h"

using namespace demask;
using demask::testing::draw_matching_on_host;
using demask::testing::HostWays;

namespace device_patterns_test {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

// Letters, and pieces of several; the last id is the end of texts where one ends them, the mask comes after it.
struct Language {
  std::vector<std::optional<std::string>> pieces;
  bool ends = false;

  explicit Language(int64_t count, bool has_end = false) : ends(has_end) {
    for (int64_t id = 0; id < count; ++id) {
      std::string piece(1, static_cast<char>('a' + id % 26));
      for (int64_t more = id / 26; more > 0; more /= 26) {
        piece += static_cast<char>('a' + more % 26);
      }
      pieces.emplace_back(piece);
    }
    if (ends) {
      pieces.back() = "<end>";
    }
  }
  int64_t mask() const { return static_cast<int64_t>(pieces.size()); }
  int64_t outputs() const { return mask() + 1; }
  std::shared_ptr<const TokenAutomaton> pattern(const std::string& text) const {
    std::vector<int64_t> allowed;
    for (int64_t id = 0; id < mask(); ++id) {
      allowed.push_back(id);
    }
    return compile_pattern(text, CharacterVocabulary(pieces), allowed,
                           ends ? std::optional<int64_t>(mask() - 1) : std::nullopt);
  }
};

// marks: '#' is free, others are given, of one letter each; an empty pattern: none.
Template template_of(const Language& language, const std::string& marks, const std::string& pattern, size_t unshown) {
  Template text;
  for (const char mark : marks) {
    text.fixed.push_back(mark != '#');
    text.tokens.push_back(mark == '#' ? language.mask() : mark - 'a');
  }
  text.pattern = pattern.empty() ? nullptr : language.pattern(pattern);
  text.unshown = unshown;
  return text;
}

struct Batch {
  std::vector<Template> texts;
  at::Tensor logits, forbidden, tokens, masked, drawn, uniforms;
  DrawFilters filters;

  std::vector<const Template*> pointers() const {
    std::vector<const Template*> all;
    for (const Template& text : texts) {
      all.push_back(&text);
    }
    return all;
  }
};

// Some of the free positions have been drawn, if the pattern permits, and some of the others wait.
Batch make_batch(const Language& language, std::vector<Template> texts, double spread, const DrawFilters& filters,
                 uint64_t seed) {
  at::manual_seed(seed);
  Batch batch{std::move(texts), {}, {}, {}, {}, {}, {}, filters};
  const auto size = static_cast<int64_t>(batch.texts.size()), length = batch.texts.front().length();
  batch.logits = at::randn({size, length, language.outputs()}) * spread;
  batch.forbidden = at::zeros({language.outputs()});
  batch.forbidden[language.mask()] = -infinity;
  std::vector<at::Tensor> rows;
  for (const Template& text : batch.texts) {
    rows.push_back(at::tensor(text.tokens));
  }
  batch.tokens = at::stack(rows);
  batch.masked = batch.tokens == language.mask();
  batch.drawn = batch.masked.logical_and(at::rand({size, length}) < 0.8);
  batch.uniforms = at::rand({size, length}).clamp(1e-6, 1 - 1e-6);
  return batch;
}

struct Drawn {
  at::Tensor tokens, probabilities;
  bool broken = false;
};

Drawn by_completions(const Batch& batch) {
  Proposal proposal{batch.tokens, batch.masked, at::ones_like(batch.uniforms), {}, at::zeros({}, at::kBool)};
  draw_matching({batch.pointers(), batch.tokens, batch.masked, batch.drawn, batch.uniforms, {}}, batch.logits,
                batch.forbidden, batch.filters, proposal);
  return {proposal.tokens, proposal.probabilities, proposal.broken.item<bool>()};
}

// By the kernels where the device is CUDA, else as they do it.
Drawn by_tables(const Batch& batch, at::Device device, const HostWays& ways = {}) {
  DevicePatterns patterns(pattern_sizes(batch.pointers(), batch.logits.size(2)), batch.logits.size(2), device);
  patterns.set(batch.pointers());
  const at::Tensor logits = batch.logits.to(device), broken = at::zeros({}, at::device(device).dtype(at::kBool));
  Proposal proposal{
      batch.tokens.to(device).clone(), batch.masked.to(device), at::ones_like(batch.uniforms).to(device), {}, broken};
  DrawFilters filters = batch.filters;
  if (filters.temperatures.defined()) {
    filters.temperatures = filters.temperatures.to(device);
  }
  kernels::PatternDraw draw =
      pattern_draw(logits, batch.forbidden.to(device), filters, batch.tokens.to(device), batch.masked.to(device),
                   batch.drawn.to(device), batch.uniforms.to(device), proposal);
  if (draw.filtered.defined()) {  // a nucleus that rounds alike
    draw.filtered = drawable_logits(batch.logits, batch.forbidden, batch.filters).to(device).contiguous();
  }
  if (device.is_cuda()) {
    kernels::cuda::draw_matching(patterns.tensors(), draw);
  } else {
    draw_matching_on_host(kernels::pattern_arguments(patterns.tensors(), draw), ways);
  }
  return {draw.chosen.cpu(), draw.probabilities.cpu(), broken.item<bool>()};
}

// The same tokens, and their probabilities but for the rounding of a sum.
void check_same(const Drawn& one, const Drawn& other) {
  CHECK(one.broken == other.broken);
  CHECK(at::equal(one.tokens, other.tokens));
  CHECK(at::allclose(one.probabilities, other.probabilities, 1e-4, 1e-7));
}

std::vector<Batch> batches() {
  std::vector<Batch> all;
  const Language few(5), ending(6, true), many(300), most(6000);  // a thread's, a warp's and a block's classes
  const std::string free(40, '#');
  std::string some = free;
  some[7] = 'b';
  some[8] = 'a';
  some[30] = 'c';
  uint64_t seed = 1;
  for (const DrawFilters& filters :
       {DrawFilters{1, 1, {}, {}}, DrawFilters{0, 1, {}, {}}, DrawFilters{0.02, 1, {}, {}},
        DrawFilters{0.8, 0.7, {}, {}}, DrawFilters{0.9, 0.95, 3, {}}, DrawFilters{1, 0.01, {}, {}}}) {
    all.push_back(
        make_batch(few,
                   {template_of(few, free, "(ab?|[cd]{2,5}e)*", 0), template_of(few, free, "", 0),
                    template_of(few, some, "([^e]{3,9}[ae])*.*", 3), template_of(few, free, "[ab]{0,30}e(c|d)*", 0)},
                   3, filters, ++seed));
    all.push_back(
        make_batch(ending, {template_of(ending, some, "([a-c]{4}d)*.?[abc]*", 0), template_of(ending, free, "a.*b", 1)},
                   2, filters, ++seed));
    all.push_back(make_batch(many, {template_of(many, free, "([^e]{3,9}e)*[a-z]{0,12}", 0)}, 2, filters, ++seed));
    all.push_back(make_batch(most, {template_of(most, "a######b#", "a[^z]*(bc?)+.{0,9}", 0)}, 2, filters, ++seed));
  }
  for (const int64_t each : {int64_t{1}, static_cast<int64_t>(free.size())}) {  // temperatures of samples, of positions
    DrawFilters filters;
    filters.temperatures = at::linspace(0.2, 2, 2 * each).view({2, each});
    all.push_back(
        make_batch(few, {template_of(few, free, "(ab?|[cd]{2,5}e)*", 0), template_of(few, some, "[^e]*(ea|.)*", 3)}, 3,
                   filters, ++seed));
  }
  return all;
}

bool kernels_here() {
  return kernels::cuda::built() && cuda_device_count() > 0;
}

// The same logits at every position of every text, on any device.
class SteadyLogits : public LanguageModel {
 public:
  explicit SteadyLogits(at::Tensor logits) : logits_(std::move(logits)) { info_.output_size = logits_.numel(); }
  const ModelInfo& info() const override { return info_; }
  at::Device device() const override { return logits_.device(); }
  at::Tensor logits(const at::Tensor& tokens) override {
    return logits_.expand({tokens.size(0), tokens.size(1), logits_.numel()});
  }

 private:
  at::Tensor logits_;
  ModelInfo info_;
};

std::vector<std::vector<int64_t>> sampled(const std::vector<std::vector<Template>>& batches, const at::Tensor& logits,
                                          std::string& refusal) {
  SteadyLogits fake(logits);
  CheckedModel model(fake, "fake");
  const auto policy = testing::random_remasking();
  DiffusionOptions options;
  options.plan = plan_by(MaskSchedule::linear(12, 0.9, 0.2), /*judged=*/false);
  options.mask_token_id = logits.numel() - 1;
  options.draw.filters.temperature = 0.9;
  options.forbidden = at::zeros({logits.numel()});
  options.forbidden[options.mask_token_id] = -infinity;
  options.forbidden = options.forbidden.to(logits.device());
  options.on_unrecordable = [&](const std::string& reason) { refusal = reason; };
  DiffusionSampler sampler(model, *policy, options);
  std::vector<std::vector<int64_t>> tokens;
  for (const std::vector<Template>& texts : batches) {
    std::vector<DiffusionTask> tasks;
    for (const Template& text : texts) {
      tasks.push_back(consecutive({1337, static_cast<int64_t>(tasks.size())}, 1, text)[0]);
    }
    for (const DrawnSample& sample : sampler.sample(tasks, nullptr)) {
      tokens.push_back(sample.tokens);
    }
  }
  return tokens;
}

}  // namespace

TEST_CASE("By flat tables texts are drawn as the host draws them, whatever the filters, the team and its ways") {
  for (const Batch& batch : batches()) {
    CAPTURE(batch.filters.temperature, batch.filters.top_p, batch.logits.size(2));
    const Drawn expected = by_completions(batch);
    CHECK(expected.tokens.ne(batch.tokens).any().item<bool>());
    CHECK_FALSE(expected.broken);
    for (const HostWays& ways : {HostWays{1, true, true, true}, HostWays{1, false, false, false},
                                 HostWays{3, true, true, false}, HostWays{3, true, true, true}}) {
      CAPTURE(ways.threads);
      check_same(by_tables(batch, at::kCPU, ways), expected);
    }
    if (kernels_here()) {
      check_same(by_tables(batch, at::kCUDA), expected);
    }
  }
}

TEST_CASE("By spans of eight positions, of four and without ways texts are drawn as the host draws them") {
  const Language few(5);
  std::string free(61, '#'), some = free;
  some.replace(0, 3, "dea");
  some[7] = 'b';
  some[33] = 'a';
  some[60] = 'c';
  const std::vector<std::pair<std::string, int32_t>> patterns = {{"([^e]{3,9}e)+.{0,9}", 0}, {"([^e]{9,20}e)+[^e]*", 8},
                                                                 {"[a-c]*(e[a-c]+)*", 4},    {"(aa|bb|cc)*.?", 4},
                                                                 {"(ab|bc|cd)*.?", 0},       {".*", 8}};
  uint64_t seed = 20;
  for (const auto& [pattern, span] : patterns) {
    CAPTURE(pattern);
    const std::vector<int32_t> packed = packed_pattern(*few.pattern(pattern), few.outputs());
    CHECK(kernels::pattern_table(packed.data(), few.outputs()).ways.span == span);
    for (const double temperature : {1.0, 0.25, 0.02}) {  // the last out of the range of scaled messages, or of spans
      const Batch batch = make_batch(few, {template_of(few, free, pattern, 0), template_of(few, some, pattern, 3)}, 3,
                                     DrawFilters{temperature, 1, {}, {}}, ++seed);
      const Drawn expected = by_completions(batch);
      check_same(by_tables(batch, at::kCPU), expected);
      check_same(by_tables(batch, at::kCPU, HostWays{3, true, true, true}), expected);
      if (kernels_here()) {
        check_same(by_tables(batch, at::kCUDA), expected);
      }
    }
  }
}

TEST_CASE("Texts match where random numbers lie between equal choices") {
  const Language few(4);
  const std::string free(61, '#');
  for (const std::string pattern : {"([^d]{3,6}d)+", "([^d]{9,20}d)+[^d]*", "(a|bc|cb)*(d.)*", ".*(ab|ba)"}) {
    for (const double uniform : {0.25, 1.0 / 3, 0.5, 0.75}) {
      Batch batch = make_batch(few, {template_of(few, free, pattern, 0)}, 0, DrawFilters{1, 1, {}, {}}, 3);
      batch.drawn = batch.masked;
      batch.uniforms.fill_(uniform);
      for (const bool on_host : {true, false}) {
        if (!on_host && !kernels_here()) {
          continue;
        }
        CAPTURE(pattern, uniform, on_host);
        const Drawn drawn = by_tables(batch, on_host ? at::kCPU : at::kCUDA);
        const TokenAutomaton& automaton = *batch.texts[0].pattern;
        int32_t state = TokenAutomaton::start();
        for (int64_t t = 0; t < drawn.tokens.size(1) && state != TokenAutomaton::none; ++t) {
          state = automaton.next_drawn(state, drawn.tokens[0][t].item<int64_t>());
        }
        REQUIRE(state != TokenAutomaton::none);
        CHECK(automaton.accepts(state));
      }
    }
  }
}

TEST_CASE("The token of a share is the one that a search from the beginning of its class finds") {
  at::manual_seed(7);
  for (int32_t size = 1; size <= kernels::most_summed; ++size) {
    const int32_t first_id[] = {3, 3 + size};  // of one class, whose sums stand behind others
    kernels::PatternTable table;
    table.first_id = first_id;
    std::vector<double> sums(static_cast<size_t>(3 + size), 100);
    double sum = 0;
    for (int32_t i = 0; i < size; ++i) {
      sum += i == 0 ? 0.25 : i % 3 == 0 ? 0 : at::rand({}).item<double>();  // some have no weight
      sums[static_cast<size_t>(3 + i)] = sum;
    }
    for (const double share : {0.0, 0.1, 0.5, 0.77, 0.999999, 1.0}) {
      const auto begin = sums.begin() + 3;
      const auto found = std::upper_bound(begin, sums.end(), share * sum);
      const auto expected = std::min<int64_t>(found - sums.begin(), 2 + size);  // at share 1 none exceeds it
      CAPTURE(size, share);
      CHECK(kernels::find_share(table, sums.data(), sum, {0, 0, share}) == expected);
    }
  }
}

TEST_CASE("Long texts, large tables and half precision are drawn on CUDA as on the host") {
  if (!kernels_here()) {
    return;
  }
  const Language letters(26);
  const std::string free(512, '#');
  // Of some 60 states, of more than a thread each has room for, and of more than a walk in shared memory takes.
  for (const std::string pattern :
       {"([^e]{20,60}e)+.{0,60}", "([a-m]{0,140}[n-z]{0,140})*", "(.{1500})?[^z]{300,600}"}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kHalf, at::kBFloat16}) {
      CAPTURE(pattern, dtype);
      Batch batch =
          make_batch(letters, {template_of(letters, free, pattern, 0), template_of(letters, free, pattern, 0)}, 2,
                     DrawFilters{0.9, 1, {}, {}}, 5);
      batch.logits = batch.logits.to(dtype);
      check_same(by_tables(batch, at::kCUDA), by_completions(batch));
    }
  }
}

TEST_CASE("Logits that are no numbers are reported by flat tables, and a model's -infinity is not") {
  const Language few(5);
  for (const double temperature : {0.0, 1.0}) {
    for (const float value : {std::nanf(""), infinity, -infinity}) {
      Batch batch = make_batch(few, {template_of(few, "####", "[ab]*", 0)}, 1, DrawFilters{temperature, 1, {}, {}}, 3);
      batch.drawn = batch.masked;
      batch.logits[0][2][1] = value;
      CHECK(by_tables(batch, at::kCPU).broken == (value != -infinity));
      batch.logits[0][2].fill_(value);
      CHECK(by_tables(batch, at::kCPU).broken);
      if (kernels_here()) {
        CHECK(by_tables(batch, at::kCUDA).broken);
      }
      // Where the pattern wants what the model excludes.
      batch = make_batch(few, {template_of(few, "####", "a{4}", 0)}, 1, DrawFilters{temperature, 1, {}, {}}, 3);
      batch.logits[0][1][0] = -infinity;
      check_same(by_tables(batch, at::kCPU), by_completions(batch));
    }
  }
}

TEST_CASE("A device is found out whose kernels draw other tokens than the host does") {
  const Language few(5);
  const std::vector<Template> texts = {template_of(few, "####", "", 0),
                                       template_of(few, std::string(40, '#'), "(ab?|[cd]{2,5}e)*", 0)};
  at::Tensor forbidden = at::zeros({few.outputs()});
  forbidden[few.mask()] = -infinity;
  const auto as_host = [&](const at::Tensor& bias, const PatternDrawer& draw) {
    return draws_as_host({&texts[0], &texts[1]}, bias, at::kFloat, few.mask(), 0.8, draw);
  };
  const auto well = [](const kernels::PatternTensors& tensors, const kernels::PatternDraw& draw) {
    draw_matching_on_host(kernels::pattern_arguments(tensors, draw), HostWays{});
  };
  CHECK(as_host(forbidden, well));
  CHECK_FALSE(as_host(forbidden, [&](const kernels::PatternTensors& tensors, const kernels::PatternDraw& draw) {
    well(tensors, draw);
    const at::Tensor one = draw.chosen.select(1, 20);
    one.copy_((one + 1).remainder(few.mask()));
  }));
  CHECK_FALSE(as_host(forbidden, [](const kernels::PatternTensors&, const kernels::PatternDraw&) {}));
  if (kernels_here()) {
    CHECK(as_host(forbidden.cuda(), kernels::cuda::draw_matching));
  }
}

TEST_CASE("A recorded step draws each batch by its own patterns") {
  const Language few(5);
  const std::string free(30, '#');
  const std::vector<std::vector<Template>> batches = {
      {template_of(few, free, "(ab?|c)*", 0), template_of(few, free, "[cd]*", 0)},
      {template_of(few, free, "[cd]*", 0), template_of(few, free, "e*d[cd]*", 0)},
      {template_of(few, free, "", 0), template_of(few, free, "[cd]*", 0)},
      {template_of(few, free, "", 0), template_of(few, free, "", 0)},
      {template_of(few, free, "(ab{1,20}){1,20}", 0), template_of(few, free, "e*", 0)}};
  std::string refusal;
  const at::Tensor logits = at::arange(few.outputs(), at::kFloat).mul(1.7).sin();
  const auto expected = sampled(batches, logits, refusal);
  CHECK(expected[1] != expected[0]);
  if (kernels_here()) {
    CHECK(sampled(batches, logits.cuda(), refusal) == expected);
    CHECK(refusal.empty());
  }
}

}  // namespace device_patterns_test

// The joint draw over flat tables, as CUDA's kernels do it, against the host's own and against enumeration; on CUDA as
// well where it is.
#include "sampling/device_patterns.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "kernels/cuda.h"
#include "model/device.h"
#include "sampling/diffusion_sampler.h"
#include "sampling/matching_draw.h"
#include "sampling/token_draw.h"
#include "tests/support/catch.h"
#include "tests/unit/sampling/pattern_on_host.h"
#include "text/character_vocabulary.h"

using namespace demask;
using demask::testing::draw_matching_on_host;
using demask::testing::HostWays;

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
  Proposal proposal{batch.tokens.to(device).clone(), batch.masked.to(device), at::ones_like(batch.uniforms).to(device),
                    {}, broken};
  const kernels::PatternDraw draw =
      pattern_draw(logits, batch.forbidden.to(device), batch.filters, batch.tokens.to(device), batch.masked.to(device),
                   batch.drawn.to(device), batch.uniforms.to(device), proposal);
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
  const Language few(5), ending(6, true), many(300);
  const std::string free(40, '#');
  std::string some = free;
  some[7] = 'b';
  some[8] = 'a';
  some[30] = 'c';
  uint64_t seed = 1;
  for (const DrawFilters& filters :
       {DrawFilters{1, 1, {}, {}}, DrawFilters{0, 1, {}, {}}, DrawFilters{0.02, 1, {}, {}},
        DrawFilters{0.8, 0.7, {}, {}}, DrawFilters{0.9, 0.95, 3, {}}, DrawFilters{1, 0.01, {}, {}}}) {
    all.push_back(make_batch(few,
                             {template_of(few, free, "(ab?|[cd]{2,5}e)*", 0), template_of(few, free, "", 0),
                              template_of(few, some, "([^e]{3,9}[ae])*.*", 3),
                              template_of(few, free, "[ab]{0,30}e(c|d)*", 0)},
                             3, filters, ++seed));
    all.push_back(make_batch(
        ending, {template_of(ending, some, "([a-c]{4}d)*.?[abc]*", 0), template_of(ending, free, "a.*b", 1)}, 2,
        filters, ++seed));
    all.push_back(make_batch(many, {template_of(many, free, "([^e]{3,9}e)*[a-z]{0,12}", 0)}, 2, filters, ++seed));
  }
  return all;
}

}  // namespace

TEST_CASE("By flat tables texts are drawn as the host draws them, whatever the filters, the team and its ways") {
  int undecided = 0;
  for (const Batch& batch : batches()) {
    CAPTURE(batch.filters.temperature, batch.filters.top_p, batch.logits.size(2));
    const Drawn expected = by_completions(batch);
    CHECK(expected.tokens.ne(batch.tokens).any().item<bool>());
    for (const HostWays& ways : {HostWays{1, true, true}, HostWays{1, false, false}, HostWays{3, true, true}}) {
      CAPTURE(ways.threads);
      check_same(by_tables(batch, at::kCPU, ways), expected);
    }
    undecided += batch.filters.temperature < 0.1 ? 1 : 0;
  }
  CHECK(undecided > 0);
}

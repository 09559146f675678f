#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/cuda.h"
#include "kernels/cuda_tensors.h"

namespace demask::kernels::cuda {
namespace {

using launch::DrawArguments;
using launch::JudgeArguments;
using launch::MeasureArguments;
using launch::RevealArguments;
using launch::StabilityArguments;
using launch::TraceArguments;

// Whether the rows of logits [..., V] lie evenly apart.
bool even_rows(const at::Tensor& logits) {
  return (logits.stride(-1) == 1 || logits.size(-1) == 1) &&
         (logits.dim() < 3 || logits.size(0) == 1 || logits.stride(0) == logits.size(1) * logits.stride(1));
}

at::Tensor with_even_rows(const at::Tensor& logits) {
  return even_rows(logits) ? logits : logits.contiguous();
}

launch::Logits logits_of(const at::Tensor& even) {
  TORCH_INTERNAL_ASSERT(even_rows(even));
  const int64_t outputs = even.size(-1);
  return {even.const_data_ptr(), even.dim() == 1 ? outputs : even.stride(-2), even.numel() / outputs, outputs};
}

// Arguments of a kernel that says something about tokens [...] int64, or none, by their logits.
template <typename Arguments>
Arguments about_tokens(const at::Tensor& even, const at::Tensor& tokens, const at::Tensor& broken) {
  Arguments arguments;
  arguments.logits = logits_of(even);
  arguments.tokens = numbers_or_none<int64_t>(tokens);
  arguments.broken = broken.data_ptr<bool>();
  return arguments;
}

// What a draw from these rows reads, but for the numbers that decide and where the tokens go.
DrawArguments draw_arguments(const at::Tensor& even, const at::Tensor& forbidden, const DrawFilters& filters,
                             const at::Tensor& broken) {
  DrawArguments arguments;
  arguments.logits = logits_of(even);
  arguments.forbidden = forbidden.const_data_ptr<float>();
  arguments.broken = broken.data_ptr<bool>();
  arguments.temperature = static_cast<float>(filters.temperature);
  if (filters.temperatures.defined()) {
    TORCH_INTERNAL_ASSERT(filters.temperatures.is_contiguous());
    arguments.temperatures = filters.temperatures.const_data_ptr<float>();
    arguments.rows_per_temperature = arguments.logits.rows / filters.temperatures.numel();
  }
  arguments.top_k = filters.top_k.value_or(0);
  arguments.top_p = static_cast<float>(filters.top_p);
  return arguments;
}

}  // namespace

void draw(const at::Tensor& logits, const at::Tensor& forbidden, const at::Tensor& uniforms, const at::Tensor& wanted,
          const at::Tensor& given, const DrawFilters& filters, const at::Tensor& tokens,
          const at::Tensor& probabilities, const at::Tensor& broken) {
  const at::Tensor rows = with_even_rows(logits);
  TORCH_INTERNAL_ASSERT(uniforms.is_contiguous() && tokens.is_contiguous() && probabilities.is_contiguous());
  TORCH_INTERNAL_ASSERT(!wanted.defined() || (wanted.is_contiguous() && given.is_contiguous()));
  DrawArguments arguments = draw_arguments(rows, forbidden, filters, broken);
  arguments.uniforms = uniforms.const_data_ptr<float>();
  arguments.wanted = numbers_or_none<bool>(wanted);
  arguments.given = wanted.defined() ? given.const_data_ptr<int64_t>() : nullptr;
  arguments.tokens = tokens.data_ptr<int64_t>();
  arguments.probabilities = probabilities.data_ptr<float>();
  launch::draw(precision_of(rows), arguments, stream_of(rows));
  check_launch();
}

bool has_next_draw_for(const at::Tensor& logits) {
  return has_kernels_for(logits) && logits.dim() == 2;
}

void draw_next(const at::Tensor& logits, const at::Tensor& forbidden, const DrawFilters& filters, const NextDraw& next,
               const at::Tensor& broken) {
  const at::Tensor rows = with_even_rows(logits);
  TORCH_INTERNAL_ASSERT(next.seeds.is_contiguous() && next.sample_indices.is_contiguous() &&
                        next.tokens.stride(1) == 1 && next.scores.is_contiguous());
  launch::NextDrawArguments arguments;
  arguments.draw = draw_arguments(rows, forbidden, filters, broken);
  arguments.seeds = next.seeds.const_data_ptr<int64_t>();
  arguments.sample_indices = next.sample_indices.const_data_ptr<int64_t>();
  arguments.steps = next.steps.data_ptr<int64_t>();
  arguments.purpose = next.purpose;
  arguments.position = next.position.data_ptr<int64_t>();
  arguments.text = next.tokens.data_ptr<int64_t>();
  arguments.text_stride = next.tokens.stride(0);
  arguments.scores = next.scores.data_ptr<float>();
  at::Tensor numbers, ids;  // until all is queued
  if (!launch::draws_next_by_one_kernel(arguments.draw.logits)) {
    numbers = at::empty({3, rows.size(0)}, next.scores.options());
    ids = at::empty({rows.size(0)}, next.tokens.options());
    arguments.uniforms = numbers[0].data_ptr<float>();
    arguments.judged = numbers[1].data_ptr<float>();
    arguments.draw.probabilities = numbers[2].data_ptr<float>();
    arguments.draw.tokens = ids.data_ptr<int64_t>();
  }
  launch::draw_next(precision_of(rows), arguments, stream_of(rows));
  check_launch();
}

void draw_matching(const PatternTensors& tensors, const PatternDraw& draw) {
  PatternDraw even = draw;
  even.logits = with_even_rows(draw.logits);
  launch::draw_matching(precision_of(even.logits), pattern_arguments(tensors, even), stream_of(even.logits));
  check_launch();
}

at::Tensor judge(const at::Tensor& logits, const at::Tensor& tokens, int64_t column, bool logarithm,
                 const at::Tensor& broken) {
  const at::Tensor rows = with_even_rows(logits);
  const at::Tensor chosen = tokens.defined() ? tokens.contiguous() : tokens;
  at::Tensor out =
      at::empty(rows.sizes().slice(0, static_cast<size_t>(rows.dim() - 1)), rows.options().dtype(at::kFloat));
  auto arguments = about_tokens<JudgeArguments>(rows, chosen, broken);
  arguments.column = column;
  arguments.out = out.data_ptr<float>();
  arguments.logarithm = logarithm;
  launch::judge(precision_of(rows), arguments, stream_of(rows));
  check_launch();
  return out;
}

void measure(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& log_probability,
             const at::Tensor& margin, const at::Tensor& entropy, const at::Tensor& broken) {
  const at::Tensor rows = with_even_rows(logits), chosen = tokens.contiguous();
  TORCH_INTERNAL_ASSERT(log_probability.is_contiguous() && margin.is_contiguous() && entropy.is_contiguous());
  auto arguments = about_tokens<MeasureArguments>(rows, chosen, broken);
  arguments.log_probability = log_probability.data_ptr<float>();
  arguments.margin = margin.data_ptr<float>();
  arguments.entropy = entropy.data_ptr<float>();
  launch::measure(precision_of(rows), arguments, stream_of(rows));
  check_launch();
}

at::Tensor temperatures_by_entropy(const at::Tensor& logits, const at::Tensor& temperature, const at::Tensor& whole,
                                   const EntropyRule& rule, const at::Tensor& broken) {
  const at::Tensor rows = with_even_rows(logits), of_step = temperature.contiguous(), of_text = whole.contiguous();
  TORCH_INTERNAL_ASSERT(of_step.numel() == logits.size(0) && of_text.numel() == logits.size(0));
  at::Tensor out = at::empty({logits.size(0), logits.size(1)}, rows.options().dtype(at::kFloat));
  auto arguments = about_tokens<MeasureArguments>(rows, /*tokens=*/{}, broken);
  arguments.entropy = out.data_ptr<float>();
  arguments.temperatures = of_step.const_data_ptr<float>();
  arguments.whole = of_text.const_data_ptr<float>();
  arguments.rows_per_text = logits.size(1);
  arguments.power = static_cast<float>(rule.power);
  arguments.least = static_cast<float>(rule.least);
  arguments.most = static_cast<float>(rule.most);
  launch::measure(precision_of(rows), arguments, stream_of(rows));
  check_launch();
  return out;
}

namespace {

RankedPositions contiguous(const RankedPositions& ranked) {
  return {ranked.scores.contiguous(), ranked.eligible.contiguous(), ranked.count, ranked.lowest};
}

// Of contiguous ones.
launch::RankArguments rank_arguments(const RankedPositions& ranked) {
  launch::RankArguments arguments;
  arguments.scores = ranked.scores.const_data_ptr<float>();
  arguments.eligible = ranked.eligible.const_data_ptr<bool>();
  arguments.counts = ranked.count.const_data_ptr<int64_t>();
  arguments.count_stride = ranked.count.stride(0);
  arguments.lowest = ranked.lowest;
  arguments.batch = ranked.scores.size(0);
  arguments.length = ranked.scores.size(1);
  return arguments;
}

}  // namespace

at::Tensor highest(const RankedPositions& ranked) {
  const RankedPositions own = contiguous(ranked);
  at::Tensor chosen = at::empty_like(own.eligible);
  launch::highest(rank_arguments(own), chosen.data_ptr<bool>(), stream_of(chosen));
  check_launch();
  return chosen;
}

namespace {

// The table that a kernel copies a row of, and where to.
template <typename Value>
launch::StepTable<Value> step_table(const at::Tensor& all, const at::Tensor& row) {
  TORCH_INTERNAL_ASSERT(all.is_contiguous());
  return {all.const_data_ptr<Value>(), row.data_ptr<Value>(), all.size(0), all.size(1), all.size(2)};
}

launch::NoiseArguments noise_arguments(const NoiseStreams& streams, const at::Tensor& steps,
                                       const std::vector<uint32_t>& purposes, const at::Tensor& out,
                                       int64_t positions) {
  TORCH_INTERNAL_ASSERT(streams.seeds.is_contiguous() && streams.sample_indices.is_contiguous() &&
                        steps.is_contiguous() && !purposes.empty() &&
                        purposes.size() <= std::size(launch::NoiseArguments().purpose));
  launch::NoiseArguments arguments;
  arguments.seeds = streams.seeds.const_data_ptr<int64_t>();
  arguments.sample_indices = streams.sample_indices.const_data_ptr<int64_t>();
  arguments.steps = steps.const_data_ptr<int64_t>();
  arguments.step_stride = steps.size(0) > 1 ? 1 : 0;
  std::copy(purposes.begin(), purposes.end(), arguments.purpose);
  arguments.purposes = static_cast<int>(purposes.size());
  arguments.out = out.data_ptr<float>();
  arguments.batch = streams.sample_indices.size(0);
  arguments.positions = positions;
  return arguments;
}

}  // namespace

at::Tensor uniform(const NoiseStreams& streams, const at::Tensor& steps, int64_t positions, uint32_t purpose) {
  at::Tensor out =
      at::empty({streams.sample_indices.size(0), positions}, streams.sample_indices.options().dtype(at::kFloat));
  launch::uniform(noise_arguments(streams, steps, {purpose}, out, positions), stream_of(out));
  check_launch();
  return out;
}

StepStart step_start(const StepTables& tables, const NoiseStreams& streams, int64_t positions, int64_t purposes) {
  const auto& [counts, numbers, step] = tables;
  const at::Tensor noise = at::empty({purposes, streams.sample_indices.size(0), positions}, numbers.options());
  return {at::empty({counts.size(0), 1, counts.size(2)}, counts.options()),
          at::empty({numbers.size(0), 1, numbers.size(2)}, numbers.options()), noise.unbind()};
}

void begin_step(const StepTables& tables, const NoiseStreams& streams, const std::vector<uint32_t>& purposes,
                const StepStart& start, bool beside) {
  const auto& [counts, numbers, step] = tables;
  TORCH_INTERNAL_ASSERT(counts.size(0) == numbers.size(0) && step.numel() == 1 &&
                        start.noise.size() == purposes.size());
  const at::Tensor& noise = start.noise.front();  // the others follow it
  launch::begin_step(step_table<int64_t>(counts, start.counts), step_table<float>(numbers, start.numbers),
                     noise_arguments(streams, step, purposes, noise, noise.size(1)), beside, stream_of(counts));
  check_launch();
}

namespace {

launch::EndStepArguments end_arguments(const StepState& state, const at::Tensor& drawn, int64_t mask) {
  TORCH_INTERNAL_ASSERT(state.tokens.is_contiguous() && state.masked.is_contiguous() && drawn.is_contiguous() &&
                        drawn.sizes() == state.tokens.sizes());
  launch::EndStepArguments arguments;
  arguments.tokens = state.tokens.data_ptr<int64_t>();
  arguments.masked = state.masked.data_ptr<bool>();
  arguments.drawn = drawn.const_data_ptr<int64_t>();
  arguments.step = state.step.data_ptr<int64_t>();
  arguments.mask = mask;
  arguments.positions = state.tokens.numel();
  return arguments;
}

}  // namespace

void end_step(const StepState& state, const at::Tensor& drawn, const at::Tensor& next_masked, int64_t mask) {
  TORCH_INTERNAL_ASSERT(!next_masked.defined() || next_masked.sizes() == state.tokens.sizes());
  const at::Tensor ids = drawn.contiguous(), hidden = next_masked.defined() ? next_masked.contiguous() : next_masked;
  launch::EndStepArguments arguments = end_arguments(state, ids, mask);
  arguments.next_masked = hidden.defined() ? hidden.const_data_ptr<bool>() : nullptr;
  launch::end_step(arguments, stream_of(state.tokens));
  check_launch();
}

bool end_step_by(const StepState& state, const at::Tensor& drawn, const RankedPositions& next_masked, int64_t mask) {
  TORCH_INTERNAL_ASSERT(next_masked.scores.sizes() == state.tokens.sizes());
  const RankedPositions own = contiguous(next_masked);
  const launch::RankArguments ranked = rank_arguments(own);
  const at::Tensor ids = drawn.contiguous();
  const launch::EndStepArguments arguments = end_arguments(state, ids, mask);
  if (!launch::ranks_at_once(ranked) || ranked.eligible == arguments.masked) {
    return false;
  }
  launch::end_step_by(ranked, arguments, stream_of(state.tokens));
  check_launch();
  return true;
}

at::Tensor blend_doubt(const at::Tensor& probability, const at::Tensor& noise, double chance) {
  const at::Tensor own = probability.contiguous(), random = noise.contiguous();
  at::Tensor blended = at::empty_like(own);
  launch::blend_doubt(own.const_data_ptr<float>(), random.const_data_ptr<float>(), static_cast<float>(1 - chance),
                      static_cast<float>(chance), blended.data_ptr<float>(), own.numel(), stream_of(own));
  check_launch();
  return blended;
}

Parted spread(const at::Tensor& from, const at::Tensor& share, const at::Tensor& offset) {
  const at::Tensor marked = from.contiguous();
  const Parted parted{at::empty_like(marked), at::empty_like(marked)};
  launch::SpreadArguments arguments;
  arguments.from = marked.const_data_ptr<bool>();
  arguments.share = share.const_data_ptr<float>();
  arguments.share_stride = share.stride(0);
  arguments.offset = offset.const_data_ptr<float>();
  arguments.offset_stride = offset.stride(0);
  arguments.taken = parted.taken.data_ptr<bool>();
  arguments.left = parted.left.data_ptr<bool>();
  arguments.length = marked.size(1);
  launch::spread(arguments, marked.size(0), stream_of(marked));
  check_launch();
  return parted;
}

at::Tensor less_excess(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& masked,
                       const at::Tensor& prior, const ExcessRule& rule) {
  const at::Tensor own = logits.contiguous(), text = tokens.contiguous(), hidden = masked.contiguous();
  const at::Tensor expected = prior.contiguous();
  at::Tensor penalty = at::empty_like(expected), weighed = at::empty_like(own);
  launch::ExcessArguments arguments;
  arguments.logits = own.const_data_ptr();
  arguments.weighed = weighed.data_ptr();
  arguments.tokens = text.const_data_ptr<int64_t>();
  arguments.masked = hidden.const_data_ptr<bool>();
  arguments.prior = expected.const_data_ptr<float>();
  arguments.penalty = penalty.data_ptr<float>();
  arguments.length = text.size(1);
  arguments.outputs = expected.size(1);
  arguments.by_count = static_cast<float>(rule.by_count);
  arguments.by_deviation = static_cast<float>(rule.by_deviation);
  arguments.usual_deviation = static_cast<float>(rule.usual_deviation);
  launch::less_excess(precision_of(own), arguments, text.size(0), stream_of(own));
  check_launch();
  return weighed;
}

at::Tensor doubt(const DoubtTerms& terms, const DoubtRule& rule) {
  const at::Tensor own = terms.log_probability.contiguous(), text = terms.tokens.contiguous();
  const at::Tensor fresh = terms.drawn.contiguous(), free = terms.eligible.contiguous();
  const at::Tensor noise = terms.noise.contiguous();
  const auto whole = [](const at::Tensor& x) { return x.defined() ? x.contiguous() : x; };
  const at::Tensor waiting = whole(terms.waiting), weight = whole(terms.weight);
  at::Tensor doubt = at::empty_like(own);
  launch::DoubtArguments arguments;
  arguments.log_probability = own.const_data_ptr<float>();
  arguments.tokens = text.const_data_ptr<int64_t>();
  arguments.drawn = fresh.const_data_ptr<bool>();
  arguments.eligible = free.const_data_ptr<bool>();
  arguments.waiting = waiting.defined() ? waiting.const_data_ptr<bool>() : nullptr;
  arguments.noise = noise.const_data_ptr<float>();
  arguments.noise_scale = terms.noise_scale.const_data_ptr<float>();
  arguments.noise_scale_stride = terms.noise_scale.stride(0);
  arguments.noise_left = terms.noise_left.const_data_ptr<float>();
  arguments.noise_left_stride = terms.noise_left.stride(0);
  if (terms.vocabulary_noise.defined()) {
    TORCH_INTERNAL_ASSERT(terms.vocabulary_noise.is_contiguous());
    arguments.vocabulary_noise = terms.vocabulary_noise.const_data_ptr<float>();
  }
  if (weight.defined()) {
    arguments.weight = weight.const_data_ptr<float>();
    arguments.outputs = weight.size(1);
  }
  if (terms.begins_within.defined()) {
    arguments.begins_within = terms.begins_within.const_data_ptr<bool>();
    arguments.ends_within = terms.ends_within.const_data_ptr<bool>();
  }
  arguments.doubt = doubt.data_ptr<float>();
  arguments.length = text.size(1);
  arguments.word_share = static_cast<float>(rule.word_share);
  arguments.noise_share = static_cast<float>(rule.noise_share);
  arguments.new_token_bonus = static_cast<float>(rule.new_token_bonus);
  arguments.choice_temperature = static_cast<float>(rule.choice_temperature);
  arguments.last_masked = static_cast<float>(last_masked);
  arguments.longest_word = longest_word;
  launch::doubt(arguments, text.size(0), stream_of(own));
  check_launch();
  return doubt;
}

bool has_reveal_kernel_for(const at::Tensor& certainty) {
  return has_kernels_for(certainty) && certainty.size(1) <= launch::max_reveal_length;
}

at::Tensor reveal(const at::Tensor& certainty, const at::Tensor& drawn, const at::Tensor& steps_left,
                  const RevealRule& rule) {
  const at::Tensor ordered = certainty.contiguous(), allowed = drawn.contiguous();
  at::Tensor masked = at::empty_like(allowed);
  RevealArguments arguments;
  arguments.certainty = ordered.const_data_ptr<float>();
  arguments.drawn = allowed.const_data_ptr<bool>();
  if (steps_left.defined()) {
    arguments.steps_left = steps_left.const_data_ptr<int64_t>();
    arguments.steps_left_stride = steps_left.stride(0);
  }
  arguments.masked = masked.data_ptr<bool>();
  arguments.batch = ordered.size(0);
  arguments.length = ordered.size(1);
  launch::reveal(rule, arguments, stream_of(ordered));
  check_launch();
  return masked;
}

at::Tensor stable_probability(const at::Tensor& logits, const at::Tensor& tokens, const Stability& stability,
                              const at::Tensor& previous, const at::Tensor& steady, const at::Tensor& broken) {
  const at::Tensor rows = with_even_rows(logits), chosen = tokens.contiguous();
  TORCH_INTERNAL_ASSERT(previous.is_contiguous() && steady.is_contiguous());
  at::Tensor certainty = at::empty_like(chosen, chosen.options().dtype(at::kFloat));
  auto arguments = about_tokens<StabilityArguments>(rows, chosen, broken);
  arguments.previous = previous.data_ptr<float>();
  arguments.steady = steady.data_ptr<int64_t>();
  arguments.certainty = certainty.data_ptr<float>();
  arguments.least_probability = static_cast<float>(stability.probability);
  arguments.divergence = static_cast<float>(stability.divergence);
  arguments.history = stability.history;
  launch::stable_probability(precision_of(rows), arguments, stream_of(rows));
  check_launch();
  return certainty;
}

static_assert(max_traced_likeliest == launch::max_traced_likeliest);

void trace(const at::Tensor& slot, const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& masked,
           const at::Tensor& forbidden, const TraceTables& tables) {
  const at::Tensor rows = with_even_rows(logits), chosen = tokens.contiguous(),
                   hidden = masked.defined() ? masked.contiguous() : masked;
  TORCH_INTERNAL_ASSERT(tables.confidence.is_contiguous() && tables.likeliest.is_contiguous() &&
                        tables.likeliest_probabilities.is_contiguous() &&
                        tables.likeliest.size(-1) <= max_traced_likeliest);
  TraceArguments arguments;
  arguments.logits = logits_of(rows);
  arguments.tokens = chosen.const_data_ptr<int64_t>();
  arguments.forbidden = forbidden.const_data_ptr<float>();
  arguments.slot = slot.const_data_ptr<int64_t>();
  if (tables.tokens.defined()) {
    arguments.traced_tokens = tables.tokens.data_ptr<int64_t>();
  }
  if (tables.masked.defined()) {
    arguments.masked = hidden.const_data_ptr<bool>();
    arguments.traced_masked = tables.masked.data_ptr<bool>();
  }
  arguments.confidence = tables.confidence.data_ptr<float>();
  arguments.likeliest = tables.likeliest.data_ptr<int64_t>();
  arguments.likeliest_probabilities = tables.likeliest_probabilities.data_ptr<float>();
  arguments.likeliest_count = tables.likeliest.size(-1);
  launch::trace(precision_of(rows), arguments, stream_of(rows));
  check_launch();
}

}  // namespace demask::kernels::cuda

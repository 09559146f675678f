#include "sampling/diffusion_sampler.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <utility>

#include "kernels/cuda.h"
#include "model/device.h"
#include "sampling/confidence.h"
#include "sampling/device_patterns.h"
#include "sampling/diffusion_batch.h"
#include "sampling/guidance.h"
#include "sampling/matching_draw.h"
#include "sampling/noise.h"
#include "sampling/read_back.h"
#include "sampling/step_runner.h"
#include "sampling/step_tracer.h"

namespace demask {

int64_t Template::free_positions() const {
  return std::count(fixed.begin(), fixed.end(), false);
}

std::vector<DiffusionTask> consecutive(const Stream& first, int64_t count, const Template& text) {
  std::vector<DiffusionTask> tasks;
  tasks.reserve(static_cast<size_t>(count));
  for (int64_t k = 0; k < count; ++k) {
    tasks.push_back({{first.seed, first.index + k}, &text, false, {first.index + k, k, {}, first.seed}});
  }
  return tasks;
}

namespace {

bool penalizes(const DrawOptions& draw) {
  return draw.repetition_penalty != 1 && draw.repetition_window > 0;
}

at::Tensor penalized_logits(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& masked,
                            const DrawOptions& draw) {
  return penalizes(draw) ? penalize_repetition(logits, tokens, masked.logical_not(), draw.repetition_penalty,
                                               draw.repetition_window)
                         : logits;
}

}  // namespace

Proposal predict(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& masked,
                 const at::Tensor& uniforms, const DrawOptions& draw, const at::Tensor& forbidden,
                 const at::Tensor& broken) {
  const at::Tensor penalized = penalized_logits(logits, tokens, masked, draw);
  const Draw drawn = draw_tokens_where(masked, tokens, penalized, forbidden, uniforms, draw.filters, broken);
  return {drawn.ids, masked, drawn.probabilities, {}, broken};
}

Proposal predict_at(const at::Tensor& logits, const at::Tensor& positions, const at::Tensor& tokens,
                    const at::Tensor& masked, const at::Tensor& uniforms, const DrawFilters& filters,
                    const at::Tensor& forbidden, const at::Tensor& broken) {
  const Draw drawn = draw_tokens_where({}, {}, logits, forbidden, uniforms.gather(1, positions), filters, broken);
  return {tokens.scatter(1, positions, drawn.ids),
          masked,
          at::ones_like(uniforms).scatter_(1, positions, drawn.probabilities),
          {},
          broken};
}

// What a step reads and changes: tensors at fixed addresses, so that a step recorded once serves every iteration and
// every batch of this shape.
struct DiffusionSampler::Chain {
  Streams streams;
  at::Tensor tokens;       // [B, T] int64
  at::Tensor masked;       // [B, T] bool
  at::Tensor eligible;     // [B, T] bool: the free positions
  at::Tensor block;        // [B, T] int64: the block of each free position; undefined where there is only one
  at::Tensor counts;       // [1 or B, steps, count_columns] int64
  at::Tensor numbers;      // [1 or B, steps, number_columns] float32
  at::Tensor step;         // [1] int64
  int64_t drawn_each = 0;  // positions to draw in every text, where that is one number; else 0
  std::vector<const Template*> patterned;              // the texts [B] where one is to match a pattern, else empty
  bool all_patterned = false;                          // each of them is
  std::unique_ptr<DevicePatterns> patterns;            // null where the host draws these, or there are none
  std::unique_ptr<StepTracer> tracer;                  // null where no text is traced
  std::array<std::unique_ptr<StepRunner>, 3> runners;  // one a kind
};

DiffusionSampler::DiffusionSampler(CheckedModel& model, RevealPolicy& policy, DiffusionOptions options)
    : model_(model), policy_(policy), options_(std::move(options)) {}

DiffusionSampler::~DiffusionSampler() = default;

void DiffusionSampler::make_chain(const DiffusionBatch& batch, at::IntArrayRef counts, at::IntArrayRef numbers) {
  const at::TensorOptions integers = at::TensorOptions(at::kLong).device(model_.device());
  chain_.reset();  // first, for its memory
  chain_ = std::make_unique<Chain>();
  chain_->streams = {at::empty({batch.size}, integers), at::empty({batch.size}, integers)};
  chain_->tokens = at::empty({batch.size, batch.length}, integers);
  chain_->masked = at::empty({batch.size, batch.length}, integers.dtype(at::kBool));
  chain_->eligible = at::empty_like(chain_->masked);
  if (batch.blocks.size() > 1) {
    chain_->block = at::empty_like(chain_->tokens);
  }
  chain_->counts = at::empty(counts, integers);
  chain_->numbers = at::empty(numbers, integers.dtype(at::kFloat));
  chain_->step = at::empty({1}, integers);
  if (!batch.traced.empty()) {
    chain_->tracer = std::make_unique<StepTracer>(batch.traced, counts[1], chain_->tokens, options_.mask_token_id,
                                                  options_.forbidden);
  }
  for (const StepKind kind : {StepKind::masking, StepKind::judging, StepKind::filling}) {
    chain_->runners[static_cast<size_t>(kind)] = make_step_runner(
        [this, kind] { step(kind, nullptr, /*first=*/false); }, model_.device(),
        std::max(model_.runs_before_recording(), policy_.runs_before_recording()), options_.on_unrecordable);
  }
}

namespace {

// The texts of a batch where one is to match a pattern, and whether all are.
struct Patterned {
  explicit Patterned(const DiffusionBatch& batch) {
    const auto has_pattern = [](const DiffusionTask& task) { return task.text->pattern != nullptr; };
    if (std::any_of(batch.tasks.begin(), batch.tasks.end(), has_pattern)) {
      std::transform(batch.tasks.begin(), batch.tasks.end(), std::back_inserter(texts),
                     [](const DiffusionTask& task) { return task.text; });
    }
    all = std::all_of(batch.tasks.begin(), batch.tasks.end(), has_pattern);
  }

  std::vector<const Template*> texts;
  bool all = false;
};

// Room for these texts' patterns on the device of `forbidden`; none where the host is to draw them.
std::optional<kernels::PatternSizes> device_sizes(const Patterned& patterned, const at::Tensor& forbidden) {
  if (patterned.texts.empty() || !kernels::cuda::has_kernels_for(forbidden)) {
    return std::nullopt;
  }
  const kernels::PatternSizes sizes = pattern_sizes(patterned.texts, forbidden.numel());
  return device_holds(sizes) ? std::optional(sizes) : std::nullopt;
}

}  // namespace

void DiffusionSampler::set_up(const DiffusionBatch& batch) {
  const Patterned patterned(batch);
  const std::optional<kernels::PatternSizes> pattern_room = device_sizes(patterned, options_.forbidden);
  // What a recorded step does about patterns it does for every batch.
  const bool as_patterned =
      chain_ && (chain_->patterns == nullptr ? !pattern_room
                                             : pattern_room && chain_->patterns->takes(*pattern_room) &&
                                                   chain_->all_patterned == patterned.all);
  // Plans drawn for each sample differ in length from batch to batch; the chain keeps room for the longest so far.
  const int64_t room = chain_ ? std::max(batch.steps, chain_->counts.size(1)) : batch.steps;
  const at::Tensor counts = batch.counts(room), numbers = batch.numbers(room);
  if (!as_patterned || chain_->tokens.size(0) != batch.size || chain_->tokens.size(1) != batch.length ||
      chain_->counts.sizes() != counts.sizes() || chain_->block.defined() != (batch.blocks.size() > 1) ||
      (chain_->tracer ? chain_->tracer->rows() : std::vector<int64_t>{}) != batch.traced) {
    make_chain(batch, counts.sizes(), numbers.sizes());
    if (pattern_room) {
      chain_->patterns = std::make_unique<DevicePatterns>(*pattern_room, options_.forbidden.numel(), model_.device());
    }
  }
  const Streams streams = to_tensors(batch.streams);
  send(streams.seeds, chain_->streams.seeds);
  send(streams.indices, chain_->streams.indices);
  // row_of(text) of each text, [B, T]
  const auto table = [&batch](const auto& row_of) {
    at::Tensor rows = at::empty({batch.size, batch.length}, at::kLong);
    int64_t* out = rows.data_ptr<int64_t>();
    for (const DiffusionTask& task : batch.tasks) {
      const std::vector<int64_t> row = row_of(*task.text);
      out = std::copy(row.begin(), row.end(), out);
    }
    return rows;
  };
  send(table([](const Template& text) { return text.tokens; }), chain_->tokens);
  at::eq_out(chain_->masked, chain_->tokens, options_.mask_token_id);
  chain_->eligible.copy_(chain_->masked);
  if (chain_->block.defined()) {
    const auto blocks_of = [this](const Template& text) {
      std::vector<int64_t> blocks;
      int64_t rank = 0;  // of a free position among them
      for (const bool fixed : text.fixed) {
        blocks.push_back(fixed ? -1 : rank++ / *options_.block_length);
      }
      return blocks;
    };
    send(table(blocks_of), chain_->block);
  }
  chain_->patterned = patterned.texts;
  chain_->all_patterned = patterned.all;
  if (chain_->patterns) {
    chain_->patterns->set(patterned.texts);
  }
  send(counts, chain_->counts);
  send(numbers, chain_->numbers);
  chain_->step.zero_();
  if (chain_->tracer) {
    chain_->tracer->begin_batch();
  }
  policy_.begin(chain_->tokens);
}

at::Tensor DiffusionSampler::guided_logits(const at::Tensor& tokens) {
  if (options_.cfg_scale == 0) {
    return model_.logits(tokens);
  }
  // The free positions stand as they are; without the fixed ones, nothing is said about the text.
  const at::Tensor unprompted = tokens.masked_fill(chain_->eligible.logical_not(), options_.mask_token_id);
  return guided(model_.logits(at::cat({tokens, unprompted})), options_.cfg_scale);
}

// With a temperature for each sample, unless it stays.
DrawOptions DiffusionSampler::draw_of_step(const at::Tensor& numbers) const {
  DrawOptions draw = options_.draw;
  if (!options_.temperature_end) {
    return draw;
  }
  const Chain& chain = *chain_;
  // How far a sample is: by its plan, or where that is not known, by how much of it is filled.
  const at::Tensor progress =
      policy_.ends_when_filled()
          ? 1 - chain.masked.sum(1, /*keepdim=*/true) / chain.eligible.sum(1, /*keepdim=*/true).to(at::kFloat)
          : column_of(numbers, start_column);
  const double begin = draw.filters.temperature, end = *options_.temperature_end;
  const at::Tensor temperatures = options_.temperature_power == 1
                                      ? progress * (end - begin) + begin
                                      : (1 - progress).pow(options_.temperature_power) * (begin - end) + end;
  draw.filters.temperatures = temperatures.clamp(least_temperature, most_temperature).contiguous();
  return draw;
}

Proposal DiffusionSampler::predict_matching(const at::Tensor& logits, const at::Tensor& positions,
                                            const at::Tensor& drawn, const at::Tensor& uniforms,
                                            const DrawOptions& draw) {
  const Chain& chain = *chain_;
  Proposal proposal = {chain.tokens, drawn, {}, {}, model_.broken()};
  if (!chain.all_patterned) {
    proposal = predict(logits, chain.tokens, drawn, uniforms, draw, options_.forbidden, model_.broken());
  }
  if (chain.patterns) {
    if (chain.all_patterned) {
      proposal.tokens = at::empty_like(chain.tokens);
      proposal.probabilities = at::empty_like(uniforms);
    }
    kernels::cuda::draw_matching(chain.patterns->tensors(),
                                 pattern_draw(penalized_logits(logits, chain.tokens, drawn, draw), options_.forbidden,
                                              draw.filters, chain.tokens, chain.masked, drawn, uniforms, proposal));
    return proposal;
  }
  if (chain.all_patterned) {
    proposal.probabilities = at::ones_like(uniforms);
  }
  draw_matching({chain.patterned, chain.tokens, chain.masked, drawn, uniforms, positions},
                penalized_logits(logits, chain.tokens, drawn, draw), options_.forbidden, draw.filters, proposal);
  return proposal;
}

Proposal DiffusionSampler::propose(StepKind kind, const at::Tensor& drawn, const DrawOptions& draw, StepView* view,
                                   bool first) {
  Chain& chain = *chain_;
  const at::Tensor uniforms = uniform(chain.streams, chain.step, chain.tokens.size(1), Purpose::draw);
  const bool judges_these = kind == StepKind::masking ? policy_.reads_logits(/*judged=*/false)
                                                      : kind == StepKind::judging && policy_.has_own_model() &&
                                                            policy_.reads_logits(/*judged=*/true);
  // A pattern reads what is masked in later blocks too, from its logits.
  const bool draws_all_masked = chain.all_patterned && !chain.block.defined();
  const bool whole_step = !options_.draws_in_parts || kind == StepKind::filling;  // no masked position waits
  // On the CPU the shape may follow the number of masked positions; a recorded step's may not, and asking a device
  // which they are would wait for it.
  if (view == nullptr && !chain.tracer && !first && !judges_these && chain.tokens.is_cpu() && chain.drawn_each > 0 &&
      options_.cfg_scale == 0 && !penalizes(draw) && !policy_.weighs_logits() && whole_step &&
      (chain.patterned.empty() || draws_all_masked)) {
    const at::Tensor positions = drawn.nonzero().select(1, 1).reshape({chain.tokens.size(0), chain.drawn_each});
    if (!chain.patterned.empty()) {
      return predict_matching(model_.logits_at(chain.tokens, positions), positions, drawn, uniforms, draw);
    }
    return predict_at(model_.logits_at(chain.tokens, positions), positions, chain.tokens, drawn, uniforms, draw.filters,
                      options_.forbidden, model_.broken());
  }
  const at::Tensor logits = guided_logits(chain.tokens);
  if (first) {
    policy_.look_at_start(logits, chain.eligible);
  }
  if (view != nullptr) {
    view->logits = logits;
  }
  const at::Tensor weighed = policy_.weigh(logits, chain.tokens, chain.masked.logical_not());
  Proposal proposal = chain.patterned.empty()
                          ? predict(weighed, chain.tokens, drawn, uniforms, draw, options_.forbidden, model_.broken())
                          : predict_matching(weighed, /*positions=*/{}, drawn, uniforms, draw);
  if (chain.tracer) {
    chain.tracer->record(chain.step, logits, proposal.tokens, chain.masked);
  }
  if (judges_these) {
    proposal.logits = options_.judges_filtered ? filtered_logits(weighed, draw.filters) : weighed;
  }
  return proposal;
}

// One column of a step's row [1 or B, 1, columns] of counts or numbers, for every text: [B, 1].
at::Tensor DiffusionSampler::column_of(const at::Tensor& row, int64_t column) const {
  return row.select(2, column).expand({chain_->tokens.size(0), 1});
}

// Of the masked positions [B, T] those that the step draws.
at::Tensor DiffusionSampler::choose_drawn(const at::Tensor& masked, const at::Tensor& numbers) const {
  const at::Tensor offset = uniform(chain_->streams, chain_->step, 1, Purpose::part);
  return spread(masked, column_of(numbers, share_column), offset);
}

// The positions of the block that are masked again, by the policy. Judges the proposal first where the step does.
at::Tensor DiffusionSampler::choose_masked(StepKind kind, Proposal& proposal, const at::Tensor& eligible,
                                           const at::Tensor& waiting, const at::Tensor& counts,
                                           const at::Tensor& numbers) {
  Chain& chain = *chain_;
  const int64_t length = chain.tokens.size(1);
  Turn turn;
  turn.judged = kind == StepKind::judging;
  if (turn.judged && !policy_.has_own_model()) {
    proposal.logits = guided_logits(proposal.tokens);
    if (chain.tracer) {
      chain.tracer->record_judgement(chain.step, proposal.logits, proposal.tokens, model_.broken());
    }
  }
  at::Tensor right;
  turn.right = chain.tracer && turn.judged && policy_.has_own_model() ? &right : nullptr;
  turn.budget.eligible = eligible;
  turn.waiting = waiting;
  turn.noise = uniform(chain.streams, chain.step, length, Purpose::remask);
  turn.progress = column_of(numbers, progress_column);
  turn.reveal_chance = column_of(numbers, reveal_column);
  turn.remask_chance = column_of(numbers, remask_column);
  if (!policy_.decides_counts()) {
    turn.budget.count = column_of(counts, masked_column);
    turn.remasked = column_of(counts, remasked_column);
  } else if (options_.spends_all) {
    turn.steps_left = column_of(counts, masked_column);
  }
  const at::Tensor next_masked = policy_.next_masked(proposal, turn);
  if (right.defined()) {
    chain.tracer->record_judgement(chain.step, right);
  }
  return next_masked;
}

void DiffusionSampler::step(StepKind kind, StepView* view, bool first) {
  Chain& chain = *chain_;
  const int64_t length = chain.tokens.size(1);
  const at::Tensor counts = chain.counts.index_select(1, chain.step),
                   numbers = chain.numbers.index_select(1, chain.step);
  at::Tensor drawn = chain.masked, eligible = chain.eligible, later, waiting;
  if (chain.block.defined() && kind != StepKind::filling) {
    // Where the policy decides and nobody paces it, a block ends when nothing of it is masked.
    const at::Tensor active =
        policy_.ends_when_filled() && !options_.spends_all
            ? chain.block.masked_fill(chain.masked.logical_not(), length).amin(1, /*keepdim=*/true)
            : column_of(counts, block_column);
    const at::Tensor inside = chain.block == active;
    drawn = drawn.logical_and(inside);
    eligible = eligible.logical_and(inside);
    later = chain.masked.logical_and(chain.block > active);
  }
  if (options_.draws_in_parts && kind != StepKind::filling) {
    const at::Tensor all = drawn;
    drawn = choose_drawn(all, numbers);
    waiting = all.logical_and(drawn.logical_not());
  }
  Proposal proposal = propose(kind, drawn, draw_of_step(numbers), view, first);
  if (view != nullptr) {
    view->before = chain.tokens.clone();
    view->was_masked = drawn.clone();
    view->filled = proposal.tokens;
    view->probabilities = proposal.probabilities;
  }
  if (kind != StepKind::filling) {
    at::Tensor next_masked = choose_masked(kind, proposal, eligible, waiting, counts, numbers);
    if (later.defined()) {
      next_masked = next_masked.logical_or(later);
    }
    chain.masked.copy_(next_masked);
    chain.tokens.copy_(proposal.tokens.masked_fill(next_masked, options_.mask_token_id));
  } else {
    chain.masked.zero_();
    chain.tokens.copy_(proposal.tokens);
  }
  if (view != nullptr) {
    view->after = chain.tokens.clone();
  }
  chain.step.add_(1);
}

void DiffusionSampler::run_step(const DiffusionBatch& batch, int64_t number, StepView* view) {
  const StepKind kind = batch.kinds[static_cast<size_t>(number)];
  const bool first = number == 0 && policy_.looks_at_start();
  chain_->drawn_each = batch.plans.size() == 1 && !policy_.decides_counts() ? batch.drawn_each(number) : 0;
  if (view != nullptr || first || (!chain_->patterned.empty() && chain_->patterns == nullptr)) {
    step(kind, view, first);  // a recorded step may not wait for the host
  } else {
    const auto after = batch.kinds.begin() + number + 1;
    chain_->runners[static_cast<size_t>(kind)]->run(std::count(after, batch.kinds.end(), kind));
  }
  const int64_t a_call = options_.cfg_scale == 0 ? 1 : 2;
  forwards_ += a_call + (kind != StepKind::judging ? 0 : policy_.has_own_model() ? 1 : a_call);
}

void DiffusionSampler::try_step(const std::vector<DiffusionTask>& tasks) {
  const c10::InferenceMode inference;
  const DiffusionBatch batch(tasks, options_, !policy_.decides_counts());
  set_up(batch);
  step(batch.kinds.front(), nullptr, policy_.looks_at_start());
  log_probability_in_place(model_, chain_->tokens);
  synchronize(model_.device());
  chain_.reset();
}

std::vector<DrawnSample> DiffusionSampler::sample(const std::vector<DiffusionTask>& tasks, Observer* observer) {
  const c10::InferenceMode inference;
  const DiffusionBatch batch(tasks, options_, !policy_.decides_counts());
  set_up(batch);

  const bool counts_known = !policy_.decides_counts(), open_ended = policy_.ends_when_filled() && !options_.spends_all;
  if (observer != nullptr) {
    observer->on_batch(batch.view(open_ended));
  }
  const bool shows_tensors = observer != nullptr && observer->reads_tensors();
  int64_t masked = batch.masked_after(-1), number = 0;
  for (; number < batch.steps && (masked > 0 || !open_ended); ++number) {
    if (options_.gives_up && options_.gives_up()) {
      throw GivenUp{};
    }
    StepView view;
    run_step(batch, number, shows_tensors ? &view : nullptr);
    const int64_t masked_before = masked;
    // Asking waits for the device: only where the answer decides something, or somebody looks.
    if (counts_known) {
      masked = batch.masked_after(number);
    } else if (open_ended || observer != nullptr) {
      masked = chain_->masked.sum().item<int64_t>();
    }
    if (observer != nullptr) {
      view.step = number;
      view.steps = open_ended ? 0 : batch.steps;
      view.masked_before = masked_before;
      view.masked_after = masked;
      view.positions = batch.size * batch.length;
      view.remask_ratio = static_cast<double>(masked) / static_cast<double>(batch.free);
      observer->on_step(view);
    }
  }
  const at::Tensor log_probability = log_probability_in_place(model_, chain_->tokens);
  ++forwards_;
  model_.check();
  std::vector<DrawnSample> samples = read_back(batch.streams, chain_->tokens, mean_log_probability(log_probability));
  if (chain_->tracer) {
    std::vector<StepTrace> traces = chain_->tracer->read_back(number, chain_->masked, log_probability);
    for (size_t k = 0; k < traces.size(); ++k) {
      const auto row = static_cast<size_t>(batch.traced[k]);
      for (int64_t done = 0; counts_known && done < number; ++done) {
        traces[k].scheduled.push_back(batch.masked_after(batch.plans[batch.plans.size() == 1 ? 0 : row], done));
      }
      samples[row].trace = std::make_shared<const StepTrace>(std::move(traces[k]));
    }
  }
  if (observer != nullptr) {
    observer->on_batch_done();
  }
  return samples;
}

}  // namespace demask

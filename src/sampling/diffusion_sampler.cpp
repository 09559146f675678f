#include "sampling/diffusion_sampler.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <array>
#include <utility>

#include "model/device.h"
#include "sampling/confidence.h"
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
    tasks.push_back({{first.seed, first.index + k}, &text, false});
  }
  return tasks;
}

namespace {

// Columns of Chain::counts and Chain::numbers.
enum Count : int64_t { block_column, masked_column, remasked_column, count_columns };
enum Number : int64_t { start_column, progress_column, reveal_column, remask_column, number_columns };

// [rows, steps, columns], all plans as long as the longest: one that has ended goes on without changing anything.
template <typename T, typename Columns>
at::Tensor tabulate(const std::vector<Plan>& plans, int64_t steps, int64_t columns, at::ScalarType dtype,
                    Columns columns_of) {
  std::vector<T> values;
  for (const Plan& plan : plans) {
    for (int64_t number = 0; number < steps; ++number) {
      const bool ended = number >= static_cast<int64_t>(plan.size());
      PlannedStep step = plan.empty() ? PlannedStep{} : plan[ended ? plan.size() - 1 : static_cast<size_t>(number)];
      step.remasked = ended ? 0 : step.remasked;
      const auto row = columns_of(step);
      values.insert(values.end(), row.begin(), row.end());
    }
  }
  return at::tensor(values, dtype).view({static_cast<int64_t>(plans.size()), steps, columns});
}

at::Tensor tabulate_counts(const std::vector<Plan>& plans, int64_t steps) {
  return tabulate<int64_t>(plans, steps, count_columns, at::kLong, [](const PlannedStep& step) {
    return std::array<int64_t, count_columns>{step.block, step.masked, step.remasked};
  });
}

at::Tensor tabulate_numbers(const std::vector<Plan>& plans, int64_t steps) {
  return tabulate<double>(plans, steps, number_columns, at::kFloat, [](const PlannedStep& step) {
    return std::array<double, number_columns>{step.start, step.progress, step.reveal_chance, step.remask_chance};
  });
}

bool penalizes(const DrawOptions& draw) {
  return draw.repetition_penalty != 1 && draw.repetition_window > 0;
}

}  // namespace

Proposal predict(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& masked,
                 const at::Tensor& uniforms, const DiffusionOptions& options, const at::Tensor& broken,
                 const at::Tensor& temperatures) {
  const DrawOptions& draw = options.draw;
  const at::Tensor penalized = penalizes(draw) ? penalize_repetition(logits, tokens, masked.logical_not(),
                                                                     draw.repetition_penalty, draw.repetition_window)
                                               : logits;
  const Draw drawn =
      draw_tokens_where(masked, tokens, penalized, options.forbidden, uniforms, draw, broken, temperatures);
  return {drawn.ids, masked, drawn.probabilities, {}, broken};
}

Proposal predict_at(const at::Tensor& logits, const at::Tensor& positions, const at::Tensor& tokens,
                    const at::Tensor& masked, const at::Tensor& uniforms, const DiffusionOptions& options,
                    const at::Tensor& broken, const at::Tensor& temperatures) {
  const Draw drawn = draw_tokens_where({}, {}, logits, options.forbidden, uniforms.gather(1, positions), options.draw,
                                       broken, temperatures);
  return {tokens.scatter(1, positions, drawn.ids),
          masked,
          at::ones_like(uniforms).scatter_(1, positions, drawn.probabilities),
          {},
          broken};
}

// The samples of one call, and what is known of their steps.
struct DiffusionSampler::Batch {
  explicit Batch(const std::vector<DiffusionTask>& all) : tasks(all) {}

  const std::vector<DiffusionTask>& tasks;
  std::vector<Stream> streams;
  int64_t size = 0;
  int64_t length = 0;           // of each text
  int64_t free = 0;             // positions to fill, over all texts
  int64_t steps = 0;            // at most
  std::vector<Plan> plans;      // one for all, or one a sample
  std::vector<int64_t> blocks;  // of each text; where there is only one, of the first text
  std::vector<Kind> kinds;      // of each step
  std::vector<int64_t> traced;  // rows

  const PlannedStep& at(const Plan& plan, int64_t number) const {
    return plan[std::min(static_cast<size_t>(number), plan.size() - 1)];
  }
  // Positions that the steps before `number` have left masked in the block that step fills; of the first plan.
  int64_t drawn_each(int64_t number) const {
    const PlannedStep& step = at(plans[0], number);
    const bool begins = number == 0 || at(plans[0], number - 1).block != step.block;
    return begins ? blocks[static_cast<size_t>(step.block)] : at(plans[0], number - 1).masked;
  }
  // Positions of a text with this plan that are masked after step `number`.
  int64_t masked_after(const Plan& plan, int64_t number) const {
    int64_t total = at(plan, number).masked;
    for (size_t later = static_cast<size_t>(at(plan, number).block) + 1; later < blocks.size(); ++later) {
      total += blocks[later];
    }
    return total;
  }
  // Positions of all texts that are masked after step `number`; before the first for -1.
  int64_t masked_after(int64_t number) const {
    if (number < 0) {
      return free;
    }
    int64_t total = 0;
    for (const Plan& plan : plans) {
      total += masked_after(plan, number);
    }
    return plans.size() == 1 ? total * size : total;
  }
  // Whether a step of some text is to be judged, and would mask something again.
  bool judges(int64_t number, bool counts_known) const {
    return std::any_of(plans.begin(), plans.end(), [&](const Plan& plan) {
      return at(plan, number).judged && (!counts_known || at(plan, number).masked > 0);
    });
  }
};

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
  std::unique_ptr<StepTracer> tracer;                  // null where no text is traced
  std::array<std::unique_ptr<StepRunner>, 3> runners;  // one a kind
};

DiffusionSampler::DiffusionSampler(WatchedModel& model, RevealPolicy& policy, DiffusionOptions options)
    : model_(model), policy_(policy), options_(std::move(options)) {}

DiffusionSampler::~DiffusionSampler() = default;

void DiffusionSampler::prepare(const Batch& batch) {
  const at::TensorOptions integers = at::TensorOptions(at::kLong).device(model_.device());
  // Plans drawn for each sample differ in length from batch to batch; the chain keeps room for the longest so far.
  const int64_t room = chain_ ? std::max(batch.steps, chain_->counts.size(1)) : batch.steps;
  const at::Tensor counts = tabulate_counts(batch.plans, room);
  const at::Tensor numbers = tabulate_numbers(batch.plans, room);
  if (!chain_ || chain_->tokens.size(0) != batch.size || chain_->tokens.size(1) != batch.length ||
      chain_->counts.sizes() != counts.sizes() || chain_->block.defined() != (batch.blocks.size() > 1) ||
      (chain_->tracer ? chain_->tracer->rows() : std::vector<int64_t>{}) != batch.traced) {
    chain_.reset();  // first, for its memory
    chain_ = std::make_unique<Chain>();
    chain_->streams = {at::empty({batch.size}, integers), at::empty({batch.size}, integers)};
    chain_->tokens = at::empty({batch.size, batch.length}, integers);
    chain_->masked = at::empty({batch.size, batch.length}, integers.dtype(at::kBool));
    chain_->eligible = at::empty_like(chain_->masked);
    if (batch.blocks.size() > 1) {
      chain_->block = at::empty_like(chain_->tokens);
    }
    chain_->counts = at::empty(counts.sizes(), integers);
    chain_->numbers = at::empty(numbers.sizes(), integers.dtype(at::kFloat));
    chain_->step = at::empty({1}, integers);
    if (!batch.traced.empty()) {
      chain_->tracer =
          std::make_unique<StepTracer>(batch.traced, room, chain_->tokens, options_.mask_token_id, options_.forbidden);
    }
    for (const Kind kind : {Kind::masking, Kind::judging, Kind::filling}) {
      chain_->runners[static_cast<size_t>(kind)] = make_step_runner(
          [this, kind] { step(kind, nullptr, /*first=*/false); }, model_.device(),
          std::max(model_.runs_before_recording(), policy_.runs_before_recording()), options_.on_unrecordable);
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
  const at::Tensor both = model_.logits(at::cat({tokens, unprompted}));
  const at::Tensor conditional = both.narrow(0, 0, tokens.size(0)).to(at::kFloat);
  const at::Tensor unconditional = both.narrow(0, tokens.size(0), tokens.size(0)).to(at::kFloat);
  return unconditional + (conditional - unconditional) * (options_.cfg_scale + 1);
}

// [B, 1] float32, or undefined where the temperature stays.
at::Tensor DiffusionSampler::step_temperatures(const at::Tensor& numbers) const {
  if (!options_.temperature_end) {
    return {};
  }
  const Chain& chain = *chain_;
  // How far a sample is: by its plan, or where that is not known, by how much of it is filled.
  const at::Tensor progress =
      policy_.ends_when_filled()
          ? 1 - chain.masked.sum(1, /*keepdim=*/true) / chain.eligible.sum(1, /*keepdim=*/true).to(at::kFloat)
          : numbers.select(2, start_column).expand({chain.tokens.size(0), 1});
  return (progress * (*options_.temperature_end - options_.draw.temperature) + options_.draw.temperature).contiguous();
}

Proposal DiffusionSampler::propose(Kind kind, const at::Tensor& drawn, const at::Tensor& temperatures, StepView* view,
                                   bool first) {
  Chain& chain = *chain_;
  const at::Tensor uniforms = uniform(chain.streams, chain.step, chain.tokens.size(1), Purpose::draw);
  const bool judges_these =
      kind == Kind::masking ? policy_.reads_logits(/*judged=*/false)
                            : kind == Kind::judging && policy_.has_own_model() && policy_.reads_logits(/*judged=*/true);
  // On the CPU the shape may follow the number of masked positions; a recorded step's may not, and asking a device
  // which they are would wait for it.
  if (view == nullptr && !chain.tracer && !first && !judges_these && chain.tokens.is_cpu() && chain.drawn_each > 0 &&
      options_.cfg_scale == 0 && !penalizes(options_.draw)) {
    const at::Tensor positions = drawn.nonzero().select(1, 1).reshape({chain.tokens.size(0), chain.drawn_each});
    return predict_at(model_.logits_at(chain.tokens, positions), positions, chain.tokens, drawn, uniforms, options_,
                      model_.broken(), temperatures);
  }
  const at::Tensor logits = guided_logits(chain.tokens);
  if (first) {
    policy_.look_at_start(logits, chain.eligible);
  }
  if (view != nullptr) {
    view->logits = logits;
  }
  Proposal proposal = predict(logits, chain.tokens, drawn, uniforms, options_, model_.broken(), temperatures);
  if (chain.tracer) {
    chain.tracer->record(chain.step, logits, proposal.tokens, chain.masked);
  }
  if (judges_these) {
    proposal.logits = logits;
  }
  return proposal;
}

void DiffusionSampler::step(Kind kind, StepView* view, bool first) {
  Chain& chain = *chain_;
  const int64_t batch = chain.tokens.size(0), length = chain.tokens.size(1);
  const at::Tensor counts = chain.counts.index_select(1, chain.step),
                   numbers = chain.numbers.index_select(1, chain.step);
  const auto of_each = [batch](const at::Tensor& table, int64_t column) {
    return table.select(2, column).expand({batch, 1});
  };

  at::Tensor drawn = chain.masked, eligible = chain.eligible, later;
  if (chain.block.defined() && kind != Kind::filling) {
    // Where the policy decides and nobody paces it, a block ends when nothing of it is masked.
    const at::Tensor active =
        policy_.ends_when_filled() && !options_.spends_all
            ? chain.block.masked_fill(chain.masked.logical_not(), length).amin(1, /*keepdim=*/true)
            : of_each(counts, block_column);
    const at::Tensor inside = chain.block == active;
    drawn = drawn.logical_and(inside);
    eligible = eligible.logical_and(inside);
    later = chain.masked.logical_and(chain.block > active);
  }
  Proposal proposal = propose(kind, drawn, step_temperatures(numbers), view, first);
  if (view != nullptr) {
    view->before = chain.tokens.clone();
    view->was_masked = drawn.clone();
    view->filled = proposal.tokens;
    view->probabilities = proposal.probabilities;
  }
  if (kind != Kind::filling) {
    Turn turn;
    turn.judged = kind == Kind::judging;
    if (turn.judged && !policy_.has_own_model()) {
      proposal.logits = guided_logits(proposal.tokens);
      if (chain.tracer) {
        chain.tracer->record_judgement(chain.step, proposal.logits, proposal.tokens, model_.broken());
      }
    }
    at::Tensor right;
    turn.right = chain.tracer && turn.judged && policy_.has_own_model() ? &right : nullptr;
    turn.budget.eligible = eligible;
    turn.noise = uniform(chain.streams, chain.step, length, Purpose::remask);
    turn.progress = of_each(numbers, progress_column);
    turn.reveal_chance = of_each(numbers, reveal_column);
    turn.remask_chance = of_each(numbers, remask_column);
    if (!policy_.decides_counts()) {
      turn.budget.count = of_each(counts, masked_column);
      turn.remasked = of_each(counts, remasked_column);
    } else if (options_.spends_all) {
      turn.steps_left = of_each(counts, masked_column);
    }
    at::Tensor next_masked = policy_.next_masked(proposal, turn);
    if (right.defined()) {
      chain.tracer->record_judgement(chain.step, right);
    }
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

void DiffusionSampler::run_step(const Batch& batch, int64_t number, StepView* view) {
  const Kind kind = batch.kinds[static_cast<size_t>(number)];
  const bool first = number == 0 && policy_.looks_at_start();
  chain_->drawn_each = batch.plans.size() == 1 && !policy_.decides_counts() ? batch.drawn_each(number) : 0;
  if (view != nullptr || first) {
    step(kind, view, first);
  } else {
    const auto after = batch.kinds.begin() + number + 1;
    chain_->runners[static_cast<size_t>(kind)]->run(std::count(after, batch.kinds.end(), kind));
  }
  const int64_t a_call = options_.cfg_scale == 0 ? 1 : 2;
  forwards_ += a_call + (kind != Kind::judging ? 0 : policy_.has_own_model() ? 1 : a_call);
}

DiffusionSampler::Batch DiffusionSampler::make_batch(const std::vector<DiffusionTask>& tasks) const {
  Batch batch(tasks);
  batch.size = static_cast<int64_t>(tasks.size());
  batch.length = tasks.front().text->length();
  const int64_t first_free = tasks.front().text->free_positions();
  bool equally_free = true;
  for (const DiffusionTask& task : tasks) {
    const int64_t free = task.text == tasks.front().text ? first_free : task.text->free_positions();
    TORCH_CHECK_VALUE(task.text->length() == batch.length && (free == first_free || !options_.block_length),
                      "texts of one batch must be of one length, and with blocks have as many free positions");
    equally_free = equally_free && free == first_free;
    batch.free += free;
    if (task.traced) {
      batch.traced.push_back(static_cast<int64_t>(batch.streams.size()));
    }
    batch.streams.push_back(task.stream);
    if (batch.plans.empty() || options_.plan_per_sample || !equally_free) {
      while (batch.plans.size() + 1 < batch.streams.size()) {
        batch.plans.push_back(batch.plans.front());  // the texts before this one were alike
      }
      batch.plans.push_back(options_.plan(task.stream, free));
      batch.steps = std::max(batch.steps, static_cast<int64_t>(batch.plans.back().size()));
    }
  }
  batch.blocks = block_sizes(first_free, options_.block_length);
  const bool counts_known = !policy_.decides_counts();
  for (int64_t number = 0; number < batch.steps; ++number) {
    const bool last = number + 1 == batch.steps;
    const bool fills = last || (counts_known && batch.masked_after(number) == 0);
    const bool judged = batch.judges(number, counts_known);
    batch.kinds.push_back(fills ? Kind::filling : judged ? Kind::judging : Kind::masking);
  }
  return batch;
}

void DiffusionSampler::try_step(const std::vector<DiffusionTask>& tasks) {
  const c10::InferenceMode inference;
  const Batch batch = make_batch(tasks);
  prepare(batch);
  step(batch.kinds.front(), nullptr, policy_.looks_at_start());
  log_probability_in_place(model_, chain_->tokens);
  synchronize(model_.device());
  chain_.reset();
}

std::vector<Sample> DiffusionSampler::sample(const std::vector<DiffusionTask>& tasks, Observer* observer) {
  const c10::InferenceMode inference;
  const Batch batch = make_batch(tasks);
  prepare(batch);

  const bool counts_known = !policy_.decides_counts(), open_ended = policy_.ends_when_filled() && !options_.spends_all;
  if (observer != nullptr) {
    observer->on_batch(indices_of(batch.streams), open_ended ? 0 : batch.steps, batch.free);
  }
  const bool shows_tensors = observer != nullptr && observer->reads_tensors();
  int64_t masked = batch.masked_after(-1), number = 0;
  for (; number < batch.steps && (masked > 0 || !open_ended); ++number) {
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
  std::vector<Sample> samples = read_back(batch.streams, chain_->tokens, mean_log_probability(log_probability));
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

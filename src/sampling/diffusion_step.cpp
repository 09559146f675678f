// One step of diffusion, a pure function of the chain's tensors: what the sampler records and repeats.
#include <ATen/ATen.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "kernels/cuda.h"
#include "sampling/diffusion_chain.h"
#include "sampling/guidance.h"
#include "sampling/matching_draw.h"

namespace demask {
namespace {

at::Tensor penalized_logits(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& masked,
                            const DrawOptions& draw) {
  return penalizes(draw) ? penalize_repetition(logits, tokens, masked.logical_not(), draw.repetition_penalty,
                                               draw.repetition_window)
                         : logits;
}

// With those that the policy sets for the positions of logits [B, T, V], if it does.
DrawOptions with_temperatures(const RevealPolicy& policy, DrawOptions draw, const at::Tensor& logits,
                              const at::Tensor& broken) {
  if (policy.sets_temperatures() && !is_greedy(draw.filters)) {
    at::Tensor of_step = draw.filters.temperatures;
    if (!of_step.defined()) {
      of_step = at::full({logits.size(0), 1}, draw.filters.temperature, logits.options().dtype(at::kFloat));
    }
    draw.filters.temperatures = policy.temperatures(logits, of_step, broken);
  }
  return draw;
}

// As the kernel that takes the place of these operations.
void end_step(const kernels::cuda::StepState& state, const at::Tensor& drawn, const Choice& choice, int64_t mask) {
  const bool has_kernels = state.tokens.is_cuda() && kernels::cuda::built();
  if (has_kernels && choice.ranked() && kernels::cuda::end_step_by(state, drawn, *choice.ranked(), mask)) {
    return;
  }
  const at::Tensor next_masked = choice.masked();
  if (has_kernels) {
    kernels::cuda::end_step(state, drawn, next_masked, mask);
    return;
  }
  at::Tensor tokens = state.tokens, masked = state.masked, step = state.step;
  if (next_masked.defined()) {
    masked.copy_(next_masked);
    tokens.copy_(drawn.masked_fill(next_masked, mask));
  } else {
    masked.zero_();
    tokens.copy_(drawn);
  }
  step.add_(1);
}

}  // namespace

// The step's rows of the chain's tables and its noise, written when they are first asked for. Where a kernel writes
// them their memory is taken at once, so that no kernel of a forward in between has it.
class DiffusionSampler::Beginning {
 public:
  Beginning(const Chain& chain, const std::vector<Purpose>& purposes) : chain_(chain), purposes_(purposes) {
    if (has_kernel()) {
      start_ =
          kernels::cuda::step_start(tables(), streams(), chain.tokens.size(1), static_cast<int64_t>(purposes.size()));
    }
  }

  const at::Tensor& counts() { return written().counts; }
  const at::Tensor& numbers() { return written().numbers; }
  const at::Tensor& noise_of_draw() { return written().noise.front(); }
  const at::Tensor& noise_of_choice() { return written().noise.at(1); }
  // [B, 1], where a step draws in parts
  at::Tensor offset_of_parts() { return written().noise.at(2).narrow(1, 0, 1); }

  // Where nobody has asked yet, they are written beside the forward that was just queued, which touches none of them.
  void write_beside_forward() { write(/*beside=*/true); }

 private:
  bool has_kernel() const { return kernels::cuda::has_kernels_for(chain_.numbers); }
  kernels::cuda::StepTables tables() const { return {chain_.counts, chain_.numbers, chain_.step}; }
  kernels::cuda::NoiseStreams streams() const { return {chain_.streams.seeds, chain_.streams.indices}; }

  const kernels::cuda::StepStart& written() {
    write(/*beside=*/false);
    return start_;
  }

  void write(bool beside) {
    if (std::exchange(is_written_, true)) {
      return;
    }
    if (has_kernel()) {
      std::vector<uint32_t> numbers;
      for (const Purpose purpose : purposes_) {
        numbers.push_back(static_cast<uint32_t>(purpose));
      }
      kernels::cuda::begin_step(tables(), streams(), numbers, start_, beside);
      return;
    }
    start_ = {chain_.counts.index_select(1, chain_.step), chain_.numbers.index_select(1, chain_.step), {}};
    for (const Purpose purpose : purposes_) {
      const int64_t positions = purpose == Purpose::part ? 1 : chain_.tokens.size(1);
      start_.noise.push_back(uniform(chain_.streams, chain_.step, positions, purpose));
    }
  }

  const Chain& chain_;
  std::vector<Purpose> purposes_;
  kernels::cuda::StepStart start_;
  bool is_written_ = false;
};

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

at::Tensor DiffusionSampler::logits(const at::Tensor& tokens, Extent extent) {
  return chain_->cache ? chain_->cache->logits(tokens, extent) : model_.logits(tokens);
}

at::Tensor DiffusionSampler::logits_at(const at::Tensor& positions, Extent extent) {
  return chain_->cache ? chain_->cache->logits_at(chain_->tokens, positions, extent)
                       : model_.logits_at(chain_->tokens, positions);
}

at::Tensor DiffusionSampler::guided_logits(const at::Tensor& tokens, Extent extent) {
  if (options_.cfg_scale == 0) {
    return logits(tokens, extent);
  }
  // The free positions stand as they are; without the fixed ones, nothing is said about the text.
  const at::Tensor unprompted = tokens.masked_fill(chain_->eligible.logical_not(), options_.mask_token_id);
  return guided(logits(at::cat({tokens, unprompted}), extent), options_.cfg_scale);
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

Proposal DiffusionSampler::propose(StepKind kind, Extent extent, kernels::cuda::Parted& masked, Beginning& beginning,
                                   StepView* view, bool first) {
  Chain& chain = *chain_;
  const bool judges_these = kind == StepKind::masking ? policy_.reads_logits(/*judged=*/false)
                                                      : kind == StepKind::judging && policy_.has_own_model() &&
                                                            policy_.reads_logits(/*judged=*/true);
  // A pattern reads what is masked in later blocks too, from its logits.
  const bool draws_all_masked = chain.all_patterned && !chain.block.defined();
  const bool whole_step = !options_.draws_in_parts || kind == StepKind::filling;  // no masked position waits
  // On the CPU the shape may follow the number of masked positions; a recorded step's may not, and asking a device
  // which they are would wait for it.
  if (view == nullptr && !chain.tracer && !first && !judges_these && chain.tokens.is_cpu() && chain.drawn_each > 0 &&
      options_.cfg_scale == 0 && !penalizes(options_.draw) && !policy_.weighs_logits() &&
      !policy_.sets_temperatures() && whole_step && (chain.patterned.empty() || draws_all_masked)) {
    const at::Tensor& drawn = masked.taken;
    const at::Tensor positions = drawn.nonzero().select(1, 1).reshape({chain.tokens.size(0), chain.drawn_each});
    const at::Tensor& uniforms = beginning.noise_of_draw();
    const DrawOptions draw = draw_of_step(beginning.numbers());
    if (!chain.patterned.empty()) {
      return predict_matching(logits_at(positions, extent), positions, drawn, uniforms, draw);
    }
    return predict_at(logits_at(positions, extent), positions, chain.tokens, drawn, uniforms, draw.filters,
                      options_.forbidden, model_.broken());
  }
  const at::Tensor logits = guided_logits(chain.tokens, extent);
  beginning.write_beside_forward();
  const at::Tensor& uniforms = beginning.noise_of_draw();
  const DrawOptions draw = draw_of_step(beginning.numbers());
  if (!whole_step) {
    masked = spread(masked.taken, column_of(beginning.numbers(), share_column), beginning.offset_of_parts());
  }
  const at::Tensor& drawn = masked.taken;
  if (first) {
    policy_.look_at_start(logits, chain.eligible, options_.words);
  }
  if (view != nullptr) {
    view->logits = chain.cache ? logits.clone() : logits;  // the cache's are overwritten by the forward that judges
  }
  const at::Tensor weighed = policy_.weighs_logits() ? policy_.weigh(logits, chain.tokens, chain.masked) : logits;
  const DrawOptions own = with_temperatures(policy_, draw, weighed, model_.broken());
  Proposal proposal = chain.patterned.empty()
                          ? predict(weighed, chain.tokens, drawn, uniforms, own, options_.forbidden, model_.broken())
                          : predict_matching(weighed, /*positions=*/{}, drawn, uniforms, own);
  if (chain.tracer) {
    chain.tracer->record(chain.step, logits, proposal.tokens, chain.masked);
  }
  if (judges_these) {
    proposal.logits = options_.judges_filtered ? filtered_logits(weighed, own.filters) : weighed;
  }
  return proposal;
}

// One column of a step's row [1 or B, 1, columns] of counts or numbers, for every text: [B, 1].
at::Tensor DiffusionSampler::column_of(const at::Tensor& row, int64_t column) const {
  return row.select(2, column).expand({chain_->tokens.size(0), 1});
}

// The positions of the block that are masked again, by the policy. Judges the proposal first where the step does.
Choice DiffusionSampler::choose_masked(StepKind kind, Proposal& proposal, const at::Tensor& eligible,
                                       const at::Tensor& waiting, Beginning& beginning) {
  Chain& chain = *chain_;
  Turn turn;
  turn.judged = kind == StepKind::judging;
  if (turn.judged && !policy_.has_own_model()) {
    proposal.logits = guided_logits(proposal.tokens, chain.cache ? Extent::window : Extent::whole);
    if (chain.tracer) {
      chain.tracer->record_judgement(chain.step, proposal.logits, proposal.tokens, model_.broken());
    }
  }
  at::Tensor right;
  turn.right = chain.tracer && turn.judged && policy_.has_own_model() ? &right : nullptr;
  turn.budget.eligible = eligible;
  turn.words = options_.words;
  turn.waiting = waiting;
  turn.noise = beginning.noise_of_choice();
  const at::Tensor &counts = beginning.counts(), &numbers = beginning.numbers();
  turn.progress = column_of(numbers, progress_column);
  turn.noise_scale = column_of(numbers, noise_scale_column);
  turn.noise_left = column_of(numbers, noise_left_column);
  turn.reveal_chance = column_of(numbers, reveal_column);
  turn.remask_chance = column_of(numbers, remask_column);
  if (!policy_.decides_counts()) {
    turn.budget.count = column_of(counts, masked_column);
    turn.remasked = column_of(counts, remasked_column);
  } else if (options_.spends_all) {
    turn.steps_left = column_of(counts, masked_column);
  }
  Choice next_masked = policy_.next_masked(proposal, turn);
  if (right.defined()) {
    chain.tracer->record_judgement(chain.step, right);
  }
  return next_masked;
}

void DiffusionSampler::step(StepKind kind, Extent extent, StepView* view, bool first) {
  Chain& chain = *chain_;
  const int64_t length = chain.tokens.size(1);
  const bool fills = kind == StepKind::filling;
  std::vector<Purpose> purposes{Purpose::draw};
  if (!fills) {
    purposes.push_back(Purpose::remask);
    if (options_.draws_in_parts) {
      purposes.push_back(Purpose::part);
    }
  }
  Beginning beginning(chain, purposes);
  kernels::cuda::Parted masked{chain.masked, {}};  // those that the step draws, and those that wait
  at::Tensor eligible = chain.eligible, later;
  if (chain.block.defined() && !fills) {
    // Where the policy decides and nobody paces it, a block ends when nothing of it is masked.
    const at::Tensor active =
        is_open_ended() ? chain.block.masked_fill(chain.masked.logical_not(), length).amin(1, /*keepdim=*/true)
                        : column_of(beginning.counts(), block_column);
    const at::Tensor inside = chain.block == active;
    masked.taken = masked.taken.logical_and(inside);
    eligible = eligible.logical_and(inside);
    later = chain.masked.logical_and(chain.block > active);
  }
  Proposal proposal = propose(kind, extent, masked, beginning, view, first);
  if (view != nullptr) {
    view->before = chain.tokens.clone();
    view->was_masked = masked.taken.clone();
    view->filled = proposal.tokens;
    view->probabilities = proposal.probabilities;
  }
  if (!fills) {
    Choice next_masked = choose_masked(kind, proposal, eligible, masked.left, beginning);
    if (later.defined()) {
      next_masked = next_masked.masked().logical_or(later);
    }
    end_step({chain.tokens, chain.masked, chain.step}, proposal.tokens, next_masked, options_.mask_token_id);
  } else {
    end_step({chain.tokens, chain.masked, chain.step}, proposal.tokens, at::Tensor(), options_.mask_token_id);
  }
  if (view != nullptr) {
    view->after = chain.tokens.clone();
  }
}

}  // namespace demask

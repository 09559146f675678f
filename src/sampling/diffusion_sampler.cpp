#include "sampling/diffusion_sampler.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <optional>
#include <utility>

#include "checkpoint/stored_tensors.h"
#include "core/notice.h"
#include "kernels/cuda.h"
#include "model/device.h"
#include "sampling/confidence.h"
#include "sampling/device_patterns.h"
#include "sampling/diffusion_chain.h"
#include "sampling/pattern_proof.h"
#include "sampling/read_back.h"

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

DiffusionSampler::DiffusionSampler(CheckedModel& model, RevealPolicy& policy, DiffusionOptions options)
    : model_(model), policy_(policy), options_(std::move(options)) {}

DiffusionSampler::~DiffusionSampler() = default;

bool DiffusionSampler::is_open_ended() const {
  return policy_.ends_when_filled() && !options_.spends_all;
}

// Guidance is a second text beside each.
int64_t DiffusionSampler::forwards_a_call() const {
  return options_.cfg_scale == 0 ? 1 : 2;
}

namespace {

// What a batch brings to the device, side by side.
enum SentPart : size_t {
  seeds_part,
  indices_part,
  tokens_part,
  masked_part,
  eligible_part,
  counts_part,
  numbers_part,
  step_part,
  block_part  // where there is more than one
};

}  // namespace

void DiffusionSampler::make_chain(const DiffusionBatch& batch, int64_t steps) {
  chain_.reset();  // first, for its memory
  chain_ = std::make_unique<Chain>();
  const std::vector<int64_t> texts = {batch.size, batch.length};
  std::vector<BatchTensors::Part> parts(block_part);
  parts[seeds_part] = parts[indices_part] = {{batch.size}};
  parts[tokens_part] = {texts};
  parts[masked_part] = parts[eligible_part] = {texts, at::kBool};
  parts[counts_part] = {{batch.rows(), steps, count_columns}};
  parts[numbers_part] = {{batch.rows(), steps, number_columns}, at::kFloat};
  parts[step_part] = {{1}};
  if (batch.blocks.size() > 1) {
    parts.push_back({texts});
  }
  const std::vector<at::Tensor>& sent = chain_->sent.emplace(parts, model_.device()).all();
  chain_->streams = {sent[seeds_part], sent[indices_part]};
  chain_->tokens = sent[tokens_part];
  chain_->masked = sent[masked_part];
  chain_->eligible = sent[eligible_part];
  chain_->counts = sent[counts_part];
  chain_->numbers = sent[numbers_part];
  chain_->step = sent[step_part];
  if (batch.blocks.size() > 1) {
    chain_->block = sent[block_part];
  }
  if (!batch.traced.empty()) {
    chain_->tracer =
        std::make_unique<StepTracer>(batch.traced, steps, chain_->tokens, options_.mask_token_id, options_.forbidden);
  }
  if (options_.cache != CacheKind::none) {
    chain_->cache = model_.begin_blocks(batch.size * forwards_a_call(), batch.length);
    TORCH_CHECK_VALUE(chain_->cache != nullptr, "the model keeps no blocks");
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

// Of each position the number of its block, -1 where it is fixed. Returns the end of what it wrote.
int64_t* write_blocks(const Template& text, int64_t block_length, int64_t* blocks) {
  int64_t rank = 0;  // of a free position among them
  for (const bool fixed : text.fixed) {
    *blocks++ = fixed ? -1 : rank++ / block_length;
  }
  return blocks;
}

}  // namespace

bool DiffusionSampler::draws_patterns_on_device(const std::vector<const Template*>& texts) {
  if (!device_draws_patterns_) {
    device_draws_patterns_ =
        draws_as_host(texts, options_.forbidden, scalar_type(model_.info().dtype), options_.mask_token_id,
                      options_.draw.filters.temperature, kernels::cuda::draw_matching);
    if (!*device_draws_patterns_) {
      notice("{} does not draw texts that match a pattern as the CPU does, so the CPU draws them, which is slower.",
             model_.device().str());
    }
  }
  return *device_draws_patterns_;
}

void DiffusionSampler::set_up(const DiffusionBatch& batch) {
  const Patterned patterned(batch);
  std::optional<kernels::PatternSizes> pattern_room = device_sizes(patterned, options_.forbidden);
  if (pattern_room && !draws_patterns_on_device(patterned.texts)) {
    pattern_room.reset();
  }
  // A recorded step has patterns or has none: where this batch differs, a new chain is made.
  const bool as_patterned =
      chain_ && (chain_->patterns == nullptr ? !pattern_room
                                             : pattern_room && chain_->patterns->takes(*pattern_room) &&
                                                   chain_->all_patterned == patterned.all);
  // Plans drawn for each sample differ in length from batch to batch; the chain keeps room for the longest so far.
  const int64_t room = chain_ ? std::max(batch.steps, chain_->counts.size(1)) : batch.steps;
  if (!as_patterned || chain_->tokens.size(0) != batch.size || chain_->tokens.size(1) != batch.length ||
      chain_->counts.size(0) != batch.rows() || chain_->counts.size(1) != room ||
      chain_->block.defined() != (batch.blocks.size() > 1) ||
      (chain_->tracer ? chain_->tracer->rows() : std::vector<int64_t>{}) != batch.traced) {
    make_chain(batch, room);
    if (pattern_room) {
      chain_->patterns = std::make_unique<DevicePatterns>(*pattern_room, options_.forbidden.numel(), model_.device());
    }
  }
  send(batch);
  chain_->patterned = patterned.texts;
  chain_->all_patterned = patterned.all;
  if (chain_->patterns) {
    chain_->patterns->set(patterned.texts);
  }
  chain_->active_block = -1;
  if (chain_->tracer) {
    chain_->tracer->begin_batch();
  }
  policy_.begin(chain_->tokens);
}

void DiffusionSampler::send(const DiffusionBatch& batch) {
  const BatchTensors::Draft draft = chain_->sent->draft();
  auto *seeds = draft.part<int64_t>(seeds_part), *indices = draft.part<int64_t>(indices_part);
  auto* tokens = draft.part<int64_t>(tokens_part);
  auto *masked = draft.part<bool>(masked_part), *eligible = draft.part<bool>(eligible_part);
  auto* blocks = chain_->block.defined() ? draft.part<int64_t>(block_part) : nullptr;
  for (const DiffusionTask& task : batch.tasks) {
    *seeds++ = static_cast<int64_t>(task.stream.seed);
    *indices++ = task.stream.index;
    const std::vector<int64_t>& text = task.text->tokens;
    tokens = std::copy(text.begin(), text.end(), tokens);
    const auto is_masked = [this](int64_t token) { return token == options_.mask_token_id; };
    masked = std::transform(text.begin(), text.end(), masked, is_masked);
    eligible = std::transform(text.begin(), text.end(), eligible, is_masked);
    if (blocks != nullptr) {
      blocks = write_blocks(*task.text, *options_.block_length, blocks);
    }
  }
  batch.write_counts(chain_->counts.size(1), draft.part<int64_t>(counts_part));
  batch.write_numbers(chain_->numbers.size(1), draft.part<float>(numbers_part));
  *draft.part<int64_t>(step_part) = 0;
  chain_->sent->send(draft);
}

Extent DiffusionSampler::enter_block(const DiffusionBatch& batch, int64_t number, int64_t masked) {
  Chain& chain = *chain_;
  if (!chain.cache) {
    return Extent::whole;
  }
  const int64_t block = is_open_ended() ? batch.first_block_of(masked) : batch.block_of(number);
  if (block == chain.active_block) {
    return Extent::window;
  }
  chain.active_block = block;
  chain.window = batch.windows[static_cast<size_t>(block)];
  chain.cache->choose(chain.window);
  return Extent::whole;
}

StepRunner& DiffusionSampler::runner(StepKind kind, Extent extent) {
  Chain& chain = *chain_;
  const bool judges_by_window = kind == StepKind::judging && !policy_.has_own_model();
  const bool has_window = chain.cache && (extent == Extent::window || judges_by_window);
  // What follows a prefix is of another size in each block, and a recording of each would keep memory of its own: these
  // steps share a runner that records none.
  const bool records = !has_window || options_.cache == CacheKind::dual;
  const int64_t window = has_window && records ? chain.window.count : 0;
  const int64_t computed = has_window && records ? chain.cache->computed() : 0;
  std::unique_ptr<StepRunner>& found = chain.runners[{kind, extent, window, computed}];
  if (!found) {
    const int64_t warm_ups = std::max(model_.runs_before_recording(), policy_.runs_before_recording());
    found = make_step_runner([this, kind, extent] { step(kind, extent, nullptr, /*first=*/false); }, model_.device(),
                             records ? warm_ups : std::numeric_limits<int64_t>::max(), options_.on_unrecordable);
  }
  return *found;
}

// Where a forward takes less than launching its kernels, and a recording little memory.
bool DiffusionSampler::is_small() const {
  constexpr int64_t most_logits = int64_t{1} << 23;
  return chain_->tokens.numel() * options_.forbidden.numel() <= most_logits;
}

// After two batches of one shape, a third promises more: what each of them does once is then worth recording, too.
int64_t DiffusionSampler::runs_to_come(int64_t known) const {
  constexpr int64_t batches_that_go_on = 2, batches_expected = 4;
  return known + (is_small() && chain_->batches >= batches_that_go_on ? batches_expected : 0);
}

at::Tensor DiffusionSampler::judge_finished() {
  Chain& chain = *chain_;
  if (!is_small()) {
    return log_probability_in_place(model_, chain.tokens);
  }
  if (!chain.last_forward) {
    // Where it cannot be recorded, the steps could not either, which was said.
    chain.last_forward =
        make_step_runner([this] { chain_->log_probability = log_probability_in_place(model_, chain_->tokens); },
                         model_.device(), model_.runs_before_recording(), [](const std::string& /*reason*/) {});
  }
  chain.last_forward->run(runs_to_come(0));
  return chain.log_probability;
}

void DiffusionSampler::count_forwards(const DiffusionBatch& batch, StepKind kind, Extent extent) {
  const int64_t a_call = forwards_a_call();
  const auto whole = static_cast<double>(batch.size * batch.length);
  const double window = chain_->cache ? static_cast<double>(batch.size * chain_->cache->computed()) : whole;
  const auto count = [&](int64_t forwards, double computed) {
    forwards_ += forwards;
    positions_ += static_cast<double>(forwards) * whole;
    computed_ += static_cast<double>(forwards) * computed;
  };
  count(a_call, extent == Extent::whole ? whole : window);
  if (kind == StepKind::judging) {
    count(policy_.has_own_model() ? 1 : a_call, policy_.has_own_model() ? whole : window);
  }
}

double DiffusionSampler::computed_share() const {
  return positions_ > 0 ? computed_ / positions_ : 1;
}

void DiffusionSampler::run_step(const DiffusionBatch& batch, int64_t number, int64_t masked, StepView* view) {
  const StepKind kind = batch.kinds[static_cast<size_t>(number)];
  const bool first = number == 0 && policy_.looks_at_start();
  chain_->drawn_each = batch.plans.size() == 1 && !policy_.decides_counts() ? batch.drawn_each(number) : 0;
  const Extent extent = enter_block(batch, number, masked);
  if (view != nullptr || first || (!chain_->patterned.empty() && chain_->patterns == nullptr)) {
    step(kind, extent, view, first);  // a recorded step may not wait for the host
  } else {
    runner(kind, extent).run(runs_to_come(batch.steps_like(number)));
  }
  count_forwards(batch, kind, extent);
}

void DiffusionSampler::try_step(const std::vector<DiffusionTask>& tasks) {
  const c10::InferenceMode inference;
  const DiffusionBatch batch(tasks, options_, !policy_.decides_counts());
  set_up(batch);
  const Extent extent = enter_block(batch, 0, batch.masked_after(-1));
  step(batch.kinds.front(), extent, nullptr, policy_.looks_at_start());
  log_probability_in_place(model_, chain_->tokens);
  synchronize(model_.device());
  chain_.reset();
}

// Each is drawn as if alone.
std::vector<DrawnSample> DiffusionSampler::sample_each(const std::vector<DiffusionTask>& tasks, Observer* observer) {
  std::vector<DrawnSample> samples;
  for (const DiffusionTask& task : tasks) {
    samples.push_back(std::move(sample({task}, observer).front()));
  }
  return samples;
}

std::vector<DrawnSample> DiffusionSampler::sample(const std::vector<DiffusionTask>& tasks, Observer* observer) {
  const c10::InferenceMode inference;
  const DiffusionBatch batch(tasks, options_, !policy_.decides_counts());
  const bool counts_known = !policy_.decides_counts(), open_ended = is_open_ended();
  if (options_.cache != CacheKind::none && tasks.size() > 1 && (open_ended || !batch.fills_same_positions())) {
    return sample_each(tasks, observer);
  }
  set_up(batch);

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
    run_step(batch, number, masked, shows_tensors ? &view : nullptr);
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
  const at::Tensor log_probability = judge_finished();
  ++chain_->batches;
  ++forwards_;
  positions_ += static_cast<double>(batch.size * batch.length);
  computed_ += static_cast<double>(batch.size * batch.length);
  const at::Tensor host_tokens = on_host(chain_->tokens), host_log_probability = on_host(log_probability);
  model_.check();  // waits, for these too
  std::vector<DrawnSample> samples = read_back(batch.streams, host_tokens, mean_log_probability(host_log_probability));
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

#include "sampling/autoregressive_sampler.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

#include "kernels/cuda.h"
#include "model/device.h"
#include "sampling/confidence.h"
#include "sampling/noise.h"
#include "sampling/read_back.h"
#include "sampling/step_runner.h"
#include "sampling/step_tracer.h"

namespace demask {

// The samples of one call.
struct AutoregressiveSampler::Batch {
  std::vector<Stream> streams;
  std::vector<std::vector<int64_t>> beginnings;  // one token or more each
  std::vector<int64_t> given;                    // their lengths
  std::vector<int64_t> lengths;                  // at the end
  int64_t shortest = 0;                          // beginning
  int64_t longest = 0;                           // at the end
  int64_t drawn = 0;                             // tokens, over all
  bool ragged = false;                           // beginnings differ in length
  std::vector<int64_t> traced;                   // rows
  std::vector<SampleInBatch> in_view;            // as observers see them
  std::vector<MatchTracker> trackers;            // one a text where one is to match a pattern, else none

  int64_t size() const { return static_cast<int64_t>(streams.size()); }

  // What the texts have from the start, as far as the shortest goes. One token is not worth sharing.
  Beginnings common(at::Device device) const {
    if (shortest == 1) {
      return {};
    }
    std::map<std::vector<int64_t>, int64_t> places;
    std::vector<int64_t> different, place;
    for (int64_t b = 0; b < size(); ++b) {
      const std::vector<int64_t>& own = beginnings[static_cast<size_t>(b)];
      const auto [found, added] =
          places.emplace(std::vector<int64_t>(own.begin(), own.begin() + shortest), different.size());
      if (added) {
        different.push_back(b);
      }
      place.push_back(found->second);
    }
    if (different.size() == place.size()) {
      return {shortest, {}, {}};
    }
    return {shortest, at::tensor(different, at::kLong).to(device), at::tensor(place, at::kLong).to(device)};
  }
};

// The tokens of the traced texts stand in the chain's own.
struct AutoregressiveSampler::Tracer {
  Tracer(std::vector<int64_t> numbers, int64_t length, const at::Tensor& forbidden)
      : rows(std::move(numbers)), tables(make_trace_tables({length, rows.count()}, forbidden, /*with_text=*/false)) {}

  TracedRows rows;
  kernels::TraceTables tables;  // [L, n, ...]
};

namespace {

// Texts that are to match patterns, which are read on the host.
struct Matching {
  std::vector<MatchTracker> trackers;  // one a text, or none
  std::vector<int64_t> given;          // lengths of the beginnings
  int64_t position = 0;                // of the token that comes next

  // [B, V]: -infinity for ids that may not come next.
  at::Tensor bias(int64_t outputs) const {
    at::Tensor rows = at::zeros({static_cast<int64_t>(trackers.size()), outputs});
    for (size_t b = 0; b < trackers.size(); ++b) {
      if (position >= given[b]) {
        trackers[b].write_bias(rows.data_ptr<float>() + static_cast<int64_t>(b) * outputs, outputs);
      }
    }
    return rows;
  }
  void append(const at::Tensor& ids) {
    const at::Tensor on_host = ids.cpu();
    for (size_t b = 0; b < trackers.size(); ++b) {
      if (position >= given[b]) {
        trackers[b].append(on_host.data_ptr<int64_t>()[b]);
      }
    }
    ++position;
  }
};

}  // namespace

// What a step reads and changes, at fixed addresses: a step recorded once serves every token of its phase, in every
// batch of this shape.
struct AutoregressiveSampler::Chain {
  GrowingText text;  // where beginnings differ in length, all of each stands in it from the start
  Streams streams;
  at::Tensor steps;  // [1] int64, tokens drawn so far; or [B], below 0 within a beginning
  at::Tensor given;  // [B] int64, lengths of the beginnings; undefined where they are equal
  std::unique_ptr<DecodingSession> session;
  std::map<int64_t, std::unique_ptr<StepRunner>> runners;  // by phase of the session
  std::unique_ptr<NextTokenScores> scores;
  std::unique_ptr<Tracer> tracer;  // null where no text is traced
  Matching matching;
};

AutoregressiveSampler::AutoregressiveSampler(CheckedModel& model, AutoregressiveOptions options)
    : model_(model), options_(std::move(options)) {}

AutoregressiveSampler::~AutoregressiveSampler() = default;

std::vector<AutoregressiveTask> consecutive(const Stream& first, int64_t count, const std::vector<int64_t>& prompt,
                                            int64_t new_tokens) {
  std::vector<AutoregressiveTask> tasks;
  tasks.reserve(static_cast<size_t>(count));
  for (int64_t k = 0; k < count; ++k) {
    tasks.push_back({{first.seed, first.index + k}, &prompt, new_tokens, false, {first.index + k, k, {}, first.seed}});
  }
  return tasks;
}

std::optional<std::string> outgrowing_notice(const ModelInfo& info, const std::string& name, int64_t given,
                                             int64_t length) {
  const int64_t within = info.block_size + 1;  // a token more than the block is drawn from all the block's
  if (!info.keeps_cache || length <= within) {
    return std::nullopt;
  }
  const std::string advice =
      given < within ? fmt::format(" --max_new_tokens={} stays below.", within - given)
                     : fmt::format(" A prompt of at most {} tokens would stay below at first.", info.block_size);
  return fmt::format(
      "from token {} on, a text is longer than the {} tokens that '{}' reads at once (its block size): each further "
      "token takes a forward over the last {}, as nanoGPT's generate does, where those before take one over a single "
      "token.{}",
      std::max(within, given) + 1, info.block_size, name, info.block_size, advice);
}

void AutoregressiveSampler::set_up(const Batch& batch) {
  const at::TensorOptions integers = at::TensorOptions(at::kLong).device(model_.device());
  const int64_t size = batch.size();
  if (!chain_ || chain_->text.tokens.size(0) != size || chain_->text.tokens.size(1) != batch.longest ||
      chain_->given.defined() != batch.ragged ||
      (chain_->tracer ? chain_->tracer->rows.numbers() : std::vector<int64_t>{}) != batch.traced) {
    chain_.reset();  // first, for its memory
    chain_ = std::make_unique<Chain>();
    chain_->text = {at::empty({size, batch.longest}, integers), at::empty({1}, integers)};
    chain_->streams = {at::empty({size}, integers), at::empty({size}, integers)};
    chain_->steps = at::empty({batch.ragged ? size : 1}, integers);
    if (batch.ragged) {
      chain_->given = at::empty({size}, integers);
    }
    if (!batch.traced.empty()) {
      chain_->tracer = std::make_unique<Tracer>(batch.traced, batch.longest, options_.forbidden);
      chain_->tracer->rows.of(chain_->text.tokens);
    }
    chain_->session = model_.begin(chain_->text);
    chain_->scores = std::make_unique<NextTokenScores>(model_, size, batch.longest);
  }
  const Streams streams = to_tensors(batch.streams);
  send(streams.seeds, chain_->streams.seeds);
  send(streams.indices, chain_->streams.indices);
  at::Tensor tokens = at::zeros({size, batch.longest}, at::kLong);
  for (int64_t b = 0; b < size; ++b) {
    const std::vector<int64_t>& beginning = batch.beginnings[static_cast<size_t>(b)];
    std::copy(beginning.begin(), beginning.end(), tokens.data_ptr<int64_t>() + b * batch.longest);
  }
  send(tokens, chain_->text.tokens);
  if (batch.ragged) {
    const at::Tensor given = at::tensor(batch.given, at::kLong);
    send(given, chain_->given);
    send(batch.shortest - given, chain_->steps);
  } else {
    chain_->steps.zero_();
  }
  chain_->text.position.fill_(batch.shortest - 1);
  chain_->matching = {batch.trackers, batch.given, batch.shortest};
  chain_->scores->read(*chain_->session, batch.common(model_.device()), chain_->text.tokens);
}

// Whether kernels that keep count do all that follows the logits [B, V], drawing by them as they are for every text.
bool AutoregressiveSampler::draws_at_once(const at::Tensor& logits) const {
  return !penalizes(options_.draw) && chain_->matching.trackers.empty() && !chain_->given.defined() &&
         !chain_->tracer && kernels::cuda::has_next_draw_for(logits);
}

void AutoregressiveSampler::step(StepView* view) {
  Chain& chain = *chain_;
  const DrawOptions& draw = options_.draw;
  const at::Tensor logits = chain.session->next_logits();
  if (view == nullptr && draws_at_once(logits)) {
    kernels::cuda::draw_next(
        logits, options_.forbidden, usable(draw.filters),
        {chain.streams.seeds, chain.streams.indices, chain.steps, static_cast<uint32_t>(Purpose::draw),
         chain.text.position, chain.text.tokens, chain.scores->table()},
        model_.broken());
    return;
  }
  at::Tensor penalized = !penalizes(draw)
                             ? logits
                             : penalize_repetition_of_next(logits, last_tokens(chain.text, draw.repetition_window),
                                                           draw.repetition_penalty, draw.repetition_window);
  const bool matches = !chain.matching.trackers.empty();
  if (matches) {
    penalized = penalized + chain.matching.bias(penalized.size(1)).to(penalized.device());
  }
  chain.text.position.add_(1);
  at::Tensor steps = chain.steps, wanted, given;
  if (chain.given.defined()) {
    steps = steps.clamp_min(0);
    wanted = chain.given <= chain.text.position;
    given = chain.text.tokens.index_select(1, chain.text.position).squeeze(1);
  }
  const at::Tensor uniforms = uniform(chain.streams, steps, 1, Purpose::draw).squeeze(1);
  const Draw next =
      draw_tokens_where(wanted, given, penalized, options_.forbidden, uniforms, draw.filters, model_.broken());
  chain.text.tokens.index_copy_(1, chain.text.position, next.ids.unsqueeze(1));
  if (matches) {
    chain.matching.append(next.ids);
  }
  chain.scores->draw(logits, next.ids, chain.text.position);
  chain.steps.add_(1);
  if (chain.tracer) {
    TracedRows& rows = chain.tracer->rows;
    trace_step(chain.text.position, rows.of(logits), rows.of(next.ids), {}, options_.forbidden, chain.tracer->tables);
  }
  if (view != nullptr) {
    view->logits = logits;
    view->filled = next.ids.unsqueeze(1);
    view->probabilities = next.probabilities.unsqueeze(1);
  }
}

void AutoregressiveSampler::run_step(int64_t more) {
  const int64_t phase = chain_->session->phase();
  if (phase < 0 || !chain_->matching.trackers.empty()) {
    step(nullptr);
    return;
  }
  std::unique_ptr<StepRunner>& runner = chain_->runners[phase];
  if (!runner) {
    runner = make_step_runner([this] { step(nullptr); }, model_.device(), model_.runs_before_recording(),
                              options_.on_unrecordable);
  }
  runner->run(more);
}

int64_t AutoregressiveSampler::first_token(const Stream& stream, const MatchTracker& tracker) const {
  std::vector<int64_t> permitted;
  std::copy_if(options_.first_tokens.begin(), options_.first_tokens.end(), std::back_inserter(permitted),
               [&](int64_t id) { return tracker.permits(id); });
  const auto u = static_cast<double>(uniform_at(stream, 0, 0, Purpose::first_token));
  return permitted[static_cast<size_t>(u * static_cast<double>(permitted.size()))];
}

AutoregressiveSampler::Batch AutoregressiveSampler::make_batch(const std::vector<AutoregressiveTask>& tasks) const {
  static const MatchRule anything;
  Batch batch;
  const bool matches =
      std::any_of(tasks.begin(), tasks.end(), [](const AutoregressiveTask& task) { return task.rule != nullptr; });
  for (const AutoregressiveTask& task : tasks) {
    if (task.traced) {
      batch.traced.push_back(batch.size());
    }
    batch.streams.push_back(task.stream);
    batch.beginnings.push_back(*task.prompt);
    const int64_t first_drawn = task.prompt->empty() ? 1 : 0;
    MatchTracker tracker(task.rule == nullptr ? anything : *task.rule, *task.prompt, task.new_tokens + first_drawn);
    if (task.prompt->empty()) {
      batch.beginnings.back().push_back(first_token(task.stream, tracker));
      tracker.append(batch.beginnings.back().back());
    }
    if (matches) {
      batch.trackers.push_back(std::move(tracker));
    }
    batch.given.push_back(static_cast<int64_t>(batch.beginnings.back().size()));
    const int64_t given = batch.given.back();
    batch.ragged = batch.ragged || given != batch.given.front();
    batch.shortest = batch.lengths.empty() ? given : std::min(batch.shortest, given);
    batch.lengths.push_back(given + task.new_tokens);
    batch.longest = std::max(batch.longest, batch.lengths.back());
    batch.drawn += task.new_tokens;
    batch.in_view.push_back({task.identity, given, batch.lengths.back()});
  }
  return batch;
}

void AutoregressiveSampler::try_step(const std::vector<AutoregressiveTask>& tasks) {
  const c10::InferenceMode inference;
  const Batch batch = make_batch(tasks);
  set_up(batch);
  step(nullptr);
  const ModelInfo& info = model_.info();
  const int64_t last = batch.longest - 1;  // tokens before the last
  if (last > 1 && (!info.keeps_cache || last > info.block_size)) {
    const at::Tensor zero = at::zeros({1}, chain_->text.position.options());
    chain_->session->restart({last - 1, zero, zero.expand({batch.size()})}, [](const Slice&, const at::Tensor&) {});
    chain_->session->advance();
    chain_->text.position.fill_(last - 1);
    step(nullptr);
  }
  synchronize(model_.device());
  chain_.reset();
}

void AutoregressiveSampler::attach_traces(const Batch& batch, std::vector<DrawnSample>& samples) const {
  const kernels::TraceTables& tables = chain_->tracer->tables;
  const at::Tensor confidence = on_host(tables.confidence), likeliest = on_host(tables.likeliest),
                   likeliest_probabilities = on_host(tables.likeliest_probabilities);
  synchronize(model_.device());
  for (size_t k = 0; k < batch.traced.size(); ++k) {
    const auto row = static_cast<size_t>(batch.traced[k]);
    const int64_t length = batch.lengths[row];
    const int64_t given = batch.given[row];
    // [L, n, ...] -> [1, T, ...]; a step within the beginning drew nothing of this text.
    const auto of_row = [&](const at::Tensor& x) {
      at::Tensor own = x.select(1, static_cast<int64_t>(k)).narrow(0, 0, length).unsqueeze(0).clone();
      own.narrow(1, 0, given).zero_();
      return own;
    };
    auto trace = std::make_shared<StepTrace>();
    trace->filled = at::tensor(samples[row].tokens, at::kLong).unsqueeze(0);
    trace->masked = at::zeros({1, length}, at::kBool);
    trace->confidence = of_row(confidence);
    trace->likeliest = of_row(likeliest);
    trace->likeliest_probabilities = of_row(likeliest_probabilities);
    trace->final_confidence = trace->confidence[0];
    samples[row].trace = std::move(trace);
  }
}

std::vector<DrawnSample> AutoregressiveSampler::sample(const std::vector<AutoregressiveTask>& tasks,
                                                       Observer* observer) {
  const c10::InferenceMode inference;
  const Batch batch = make_batch(tasks);
  const int64_t steps = batch.longest - batch.shortest;
  if (observer != nullptr) {
    observer->on_batch({batch.in_view, steps, batch.drawn});
  }
  set_up(batch);
  const ModelInfo& info = model_.info();
  if (info.causal && info.every_position && info.block_size > 0 && batch.shortest > info.block_size) {
    ++forwards_;  // the first step reads the end of the prompts, not their beginnings
  }
  const at::Tensor& tokens = chain_->text.tokens;
  const bool shows_tensors = observer != nullptr && observer->reads_tensors();
  for (int64_t number = 0; number < steps; ++number) {
    if (options_.gives_up && options_.gives_up()) {
      throw GivenUp{};
    }
    StepView view;
    if (shows_tensors) {
      view.before = tokens.narrow(1, 0, batch.shortest + number);
      step(&view);
    } else {
      run_step(steps - number - 1);
    }
    chain_->session->advance();
    ++forwards_;
    if (observer != nullptr) {
      view.step = number;
      view.steps = steps;
      view.positions = batch.size() * tokens.size(1);
      observer->on_step(view);
    }
  }
  const at::Tensor confidence = chain_->scores->means(batch.lengths, batch.given);
  model_.check();
  std::vector<DrawnSample> samples = read_back(batch.streams, tokens, confidence);
  for (size_t b = 0; b < samples.size(); ++b) {
    samples[b].tokens.resize(static_cast<size_t>(batch.lengths[b]));
  }
  if (chain_->tracer) {
    attach_traces(batch, samples);
  }
  if (observer != nullptr) {
    observer->on_batch_done();
  }
  return samples;
}

}  // namespace demask

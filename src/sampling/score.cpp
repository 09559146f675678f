#include "sampling/score.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

#include "model/device.h"
#include "sampling/confidence.h"
#include "sampling/guidance.h"
#include "sampling/read_back.h"
#include "sampling/score_rows.h"

namespace demask {
namespace {

// Tokens of a forward that keep the device busy, and logits that are made at once: on CUDA as many as 32 bits count,
// for large products are the fastest, and what a part of the memory holds in float32.
constexpr int64_t tokens_on_cuda = int64_t{1} << 16, tokens_on_cpu = int64_t{1} << 14;
constexpr int64_t logits_on_cuda = (int64_t{1} << 31) - 1, logits_on_cpu = int64_t{1} << 25;
constexpr int64_t memory_parts = 6;

int64_t logits_at_once(at::Device device) {
  return device.is_cuda() ? std::min(logits_on_cuda, free_memory_bytes(device) / memory_parts / int64_t{sizeof(float)})
                          : logits_on_cpu;
}

// The rows of one forward.
struct Chunk {
  std::vector<ScoreRow>::const_iterator first, end;
  int64_t length = 0;  // of the longest row
  int64_t width = 0;   // tokens judged in a row, at most

  int64_t rows() const { return end - first; }
};

// What a forward gives, on the device.
struct Judged {
  at::Tensor log_probability;  // [R, n] float32
  at::Tensor positions;        // [R, n] int32: of a bound, where the masked tokens stand
};

// A tensor of the host, on the device, without waiting for that.
at::Tensor sent(const at::Tensor& host, at::Device device) {
  if (device.is_cpu()) {
    return host;
  }
  at::Tensor there = at::empty(host.sizes(), host.options().device(device));
  send(host, there);
  return there;
}

// Rows [R, n] int64 that fill(row, out) writes, zeros elsewhere, on the device.
template <typename Fill>
at::Tensor table(const Chunk& chunk, int64_t width, at::Device device, const Fill& fill) {
  const at::Tensor host = at::zeros({chunk.rows(), width}, at::kLong);
  int64_t* out = host.data_ptr<int64_t>();
  for (auto row = chunk.first; row != chunk.end; ++row, out += width) {
    fill(*row, out);
  }
  return sent(host, device);
}

// log p of ids [R, n] under logits [R, n, V].
at::Tensor log_probability_of(const at::Tensor& ids, const at::Tensor& logits, const at::Tensor& broken) {
  if (logits.is_cuda()) {
    return token_log_probability(logits, ids, broken);
  }
  // In parts, as the softmax is a copy of the logits.
  const at::Tensor all = at::empty(ids.sizes(), ids.options().dtype(at::kFloat));
  for_slices(ids.size(0), ids.size(1), std::max<int64_t>(1, logits_on_cpu / logits.size(2)), [&](const Slice& slice) {
    slice.of(all).copy_(token_log_probability(slice.of(logits), slice.of(ids), broken));
  });
  return all;
}

// log p of ids [R, n] at positions [R, n] of tokens [R, T].
at::Tensor log_probability_at(CheckedModel& model, const at::Tensor& tokens, const at::Tensor& positions,
                              const at::Tensor& ids) {
  return model.judges_tokens() ? model.log_probability_at(tokens, positions, ids, model.broken())
                               : log_probability_of(ids, model.logits_at(tokens, positions), model.broken());
}

at::Tensor tokens_of(const std::vector<ScoreText>& texts, const Chunk& chunk, at::Device device) {
  return table(chunk, chunk.length, device, [&](const ScoreRow& row, int64_t* out) {
    const auto begin = texts[row.text].tokens.begin() + row.start;
    std::copy(begin, begin + row.length, out);
  });
}

// Calls found(place) for every token that the row judges, of an autoregressive model.
template <typename Found>
void for_judged(const ScoreText& text, const ScoreRow& row, const Found& found) {
  int64_t judged = 0;
  for (int64_t place = row.number; judged < row.count; ++place) {
    if (text.scored[static_cast<size_t>(place)]) {
      found(place);
      ++judged;
    }
  }
}

Judged judge_next_tokens(CheckedModel& model, const std::vector<ScoreText>& texts, const Chunk& chunk) {
  const at::Device device = model.device();
  const at::Tensor before = table(chunk, chunk.width, device, [&](const ScoreRow& row, int64_t* out) {
    for_judged(texts[row.text], row, [&](int64_t place) { *out++ = place - 1 - row.start; });
  });
  const at::Tensor ids = table(chunk, chunk.width, device, [&](const ScoreRow& row, int64_t* out) {
    for_judged(texts[row.text], row,
               [&](int64_t place) { *out++ = texts[row.text].tokens[static_cast<size_t>(place)]; });
  });
  return {log_probability_at(model, tokens_of(texts, chunk, device), before, ids), {}};
}

// The scored positions of each row in an order of its own, those first that its draw masks: [R, width].
at::Tensor masked_positions(const std::vector<ScoreText>& texts, const Chunk& chunk, const at::Tensor& is_scored) {
  const at::Device device = is_scored.device();
  std::vector<Stream> streams;
  for (auto row = chunk.first; row != chunk.end; ++row) {
    streams.push_back(texts[row->text].stream);
  }
  const Streams host = to_tensors(streams);
  const at::Tensor draws = table(chunk, 1, device, [](const ScoreRow& row, int64_t* out) { *out = row.number; });
  const at::Tensor noise = uniform({sent(host.seeds, device), sent(host.indices, device)}, draws.squeeze(1),
                                   chunk.length, Purpose::score_mask)
                               .masked_fill(is_scored.logical_not(), std::numeric_limits<double>::infinity());
  // Stable: which of two equal numbers comes first must not depend on how many are taken.
  const at::Tensor order = std::get<1>(noise.sort(/*stable=*/true, /*dim=*/1, /*descending=*/false));
  return order.narrow(1, 0, chunk.width).contiguous();
}

Judged judge_masked(CheckedModel& model, const std::vector<ScoreText>& texts, const Chunk& chunk,
                    const ScoreOptions& options) {
  const at::Device device = model.device();
  const at::Tensor is_scored = table(chunk, chunk.length, device, [&](const ScoreRow& row, int64_t* out) {
                                 std::copy(texts[row.text].scored.begin(), texts[row.text].scored.end(), out);
                               }).to(at::kBool);
  const at::Tensor counts = table(chunk, 1, device, [](const ScoreRow& row, int64_t* out) { *out = row.count; });
  const bool pseudo = options.method == ScoreMethod::pseudo;
  const at::Tensor positions =
      pseudo ? table(chunk, 1, device, [](const ScoreRow& row, int64_t* out) { *out = row.number; })
             : masked_positions(texts, chunk, is_scored);
  const at::Tensor log_probability = masked_log_probability(model, tokens_of(texts, chunk, device), positions, counts,
                                                            is_scored.logical_not(), options);
  return {log_probability, pseudo ? at::Tensor() : positions.to(at::kInt)};
}

// What a forward may have at most.
struct ChunkLimits {
  int64_t rows = 0, tokens = 0, judged = 0;
};

// Cuts the rows, which are in the order of their lengths and counts, into forwards. Only an autoregressive model's rows
// may be of several lengths: what is put after a row's end is not seen.
std::vector<Chunk> cut(const std::vector<ScoreRow>& rows, const ScoreOptions& options, const ChunkLimits& most) {
  std::vector<Chunk> chunks;
  for (auto row = rows.begin(); row != rows.end(); ++row) {
    const int64_t others = chunks.empty() ? 0 : chunks.back().rows(), all = others + 1;
    const bool fits = others > 0 && all <= most.rows && all * row->length <= most.tokens &&
                      all * std::max(row->count, chunks.back().width) <= most.judged &&
                      (options.method == ScoreMethod::exact || row->length == chunks.back().length);
    if (!fits) {
      chunks.push_back({row, row});
    }
    chunks.back().end = row + 1;
    chunks.back().length = row->length;
    chunks.back().width = std::max(chunks.back().width, row->count);
  }
  return chunks;
}

// As few forwards as can be, of about as many rows each: a small last one would leave the device idle.
std::vector<Chunk> cut_evenly(const std::vector<ScoreRow>& rows, const ScoreOptions& options, ChunkLimits most) {
  std::vector<Chunk> chunks = cut(rows, options, most);
  const auto count = static_cast<int64_t>(chunks.size()), all = static_cast<int64_t>(rows.size());
  most.rows = std::min(most.rows, (all + count - 1) / std::max<int64_t>(1, count));
  std::vector<Chunk> even = cut(rows, options, most);
  return even.size() == chunks.size() ? even : chunks;
}

void check_text(const ScoreText& text, const ScoreOptions& options) {
  TORCH_CHECK_VALUE(text.scored.size() == text.tokens.size(), "a text must say of each token whether it is scored");
  const bool any = std::find(text.scored.begin(), text.scored.end(), true) != text.scored.end();
  TORCH_CHECK_VALUE(any && !(options.method == ScoreMethod::exact && text.scored.front()),
                    "a text must have a token that is scored, of an autoregressive model not the first");
}

}  // namespace

at::Tensor masked_log_probability(CheckedModel& model, const at::Tensor& tokens, const at::Tensor& positions,
                                  const at::Tensor& counts, const at::Tensor& prompt, const ScoreOptions& options) {
  const at::Tensor chosen = at::arange(positions.size(1), positions.options()).unsqueeze(0).lt(counts);
  const at::Tensor ids = tokens.gather(1, positions);
  const at::Tensor masked = tokens.scatter(1, positions, ids.masked_fill(chosen, options.mask_token_id));
  at::Tensor each;
  if (options.cfg_scale == 0) {
    each = log_probability_at(model, masked, positions, ids);
  } else {
    const at::Tensor unprompted = masked.masked_fill(prompt, options.mask_token_id);
    const at::Tensor both = model.logits_at(at::cat({masked, unprompted}), at::cat({positions, positions}));
    each = log_probability_of(ids, guided(both, options.cfg_scale), model.broken());
  }
  return each.masked_fill(chosen.logical_not(), 0);
}

Scorer::Scorer(CheckedModel& model, ScoreOptions options)
    : model_(model), options_(std::move(options)), most_logits_(logits_at_once(model.device())) {}

struct Scorer::UnderWay {
  std::vector<ScoreText> texts;
  std::vector<ScoreRow> rows = {};
  std::vector<Chunk> chunks = {};
  std::vector<Judged> judged = {};  // on its way to the host
  at::Tensor broken = {};           // as well: the model's
  std::optional<QueueMark> end = {};
};

std::vector<TextScore> Scorer::score(const std::vector<ScoreText>& texts, Observer* observer) {
  return finish(*begin(texts, observer));
}

std::shared_ptr<Scorer::UnderWay> Scorer::begin(std::vector<ScoreText> texts, Observer* observer) {
  const c10::InferenceMode inference;
  auto all = std::make_shared<UnderWay>(UnderWay{std::move(texts)});
  for (size_t number = 0; number < all->texts.size(); ++number) {
    check_text(all->texts[number], options_);
    append_rows(all->texts[number], number, options_, model_.info().block_size, all->rows);
  }
  std::stable_sort(all->rows.begin(), all->rows.end(), [](const ScoreRow& left, const ScoreRow& right) {
    return std::tie(left.length, left.count) < std::tie(right.length, right.count);
  });
  all->chunks = cut_evenly(all->rows, options_,
                           {options_.most_rows.value_or(std::numeric_limits<int64_t>::max()),
                            model_.device().is_cuda() ? tokens_on_cuda : tokens_on_cpu, most_judged()});
  for (const Chunk& chunk : all->chunks) {
    if (options_.gives_up && options_.gives_up()) {
      throw GivenUp{};
    }
    last_rows_ = chunk.rows();
    const Judged here = options_.method == ScoreMethod::exact ? judge_next_tokens(model_, all->texts, chunk)
                                                              : judge_masked(model_, all->texts, chunk, options_);
    forwards_ += options_.method != ScoreMethod::exact && options_.cfg_scale != 0 ? 2 : 1;
    all->judged.push_back(
        {on_host(here.log_probability), here.positions.defined() ? on_host(here.positions) : here.positions});
    if (observer != nullptr) {
      StepView view;
      view.step = static_cast<int64_t>(all->judged.size()) - 1;
      view.steps = static_cast<int64_t>(all->chunks.size());
      observer->on_step(view);
    }
  }
  all->broken = on_host(model_.broken());
  all->end.emplace(model_.device());
  return all;
}

std::vector<TextScore> Scorer::finish(const UnderWay& under_way) {
  under_way.end->wait();
  model_.check(under_way.broken);
  std::vector<ScoreSum> sums;
  for (const ScoreText& text : under_way.texts) {
    sums.emplace_back(text, options_);
  }
  for (size_t c = 0; c < under_way.chunks.size(); ++c) {
    const Chunk& chunk = under_way.chunks[c];
    const Judged& judged = under_way.judged[c];
    const float* log_probability = judged.log_probability.data_ptr<float>();
    const int32_t* positions = judged.positions.defined() ? judged.positions.data_ptr<int32_t>() : nullptr;
    for (auto row = chunk.first; row != chunk.end; ++row) {
      sums[row->text].add(*row, log_probability, positions);
      log_probability += chunk.width;
      positions += positions == nullptr ? 0 : chunk.width;
    }
  }
  std::vector<TextScore> scores;
  std::transform(sums.begin(), sums.end(), std::back_inserter(scores),
                 [](const ScoreSum& sum) { return sum.finish(); });
  return scores;
}

int64_t Scorer::rows_of(const ScoreText& text) const {
  std::vector<ScoreRow> rows;
  append_rows(text, 0, options_, model_.info().block_size, rows);
  return static_cast<int64_t>(rows.size());
}

void Scorer::try_forward(const ScoreText& text, int64_t rows) {
  const c10::InferenceMode inference;
  std::vector<ScoreRow> all;
  append_rows(text, 0, options_, model_.info().block_size, all);
  const auto largest = std::max_element(all.begin(), all.end(), [](const ScoreRow& left, const ScoreRow& right) {
    return std::tie(left.length, left.count) < std::tie(right.length, right.count);
  });
  const std::vector<ScoreRow> alike(static_cast<size_t>(rows), *largest);
  const Chunk chunk{alike.begin(), alike.end(), largest->length, largest->count};
  options_.method == ScoreMethod::exact ? judge_next_tokens(model_, {text}, chunk)
                                        : judge_masked(model_, {text}, chunk, options_);
  synchronize(model_.device());
}

int64_t Scorer::most_judged() const {
  const bool makes_logits =
      !model_.judges_tokens() || (options_.method != ScoreMethod::exact && options_.cfg_scale != 0);
  return makes_logits ? most_logits_ / model_.info().output_size : std::numeric_limits<int64_t>::max();
}

bool Scorer::halve_rows() {
  if (last_rows_ <= 1) {
    return false;
  }
  options_.most_rows = last_rows_ / 2;
  return true;
}

}  // namespace demask

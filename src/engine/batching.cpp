#include "engine/batching.h"

#include <algorithm>
#include <exception>
#include <map>
#include <numeric>
#include <optional>
#include <tuple>
#include <utility>

#include "core/background.h"
#include "core/error.h"
#include "core/notice.h"
#include "model/device.h"

namespace demask {
namespace {

// Batches that are put together at once from prompts of several kinds or lengths.
constexpr int64_t batches_ahead = 16;

// More than any model of 12 layers, 768 wide, takes for activations, and some ten copies of the logits (filters,
// softmax, cumulative sums) in float32. Where so much is there several times over, nothing need be measured.
constexpr int64_t activation_bytes_per_token = int64_t{64} * 1024;
constexpr int64_t bytes_per_logit = int64_t{10} * 4;
constexpr int64_t ample = 8;  // times

// Those measured: their difference leaves out what does not grow with the batch.
constexpr int64_t few = 2, more = 6;

std::shared_ptr<const PreparedPrompt> prepared(const WorkEntry& entry, Generator& generator) {
  return entry.prepared ? entry.prepared : generator.prepare(entry.prompt, /*quiet=*/true);
}

// Bytes that a sample more in the batch takes, by a step of a few of them; 0 where that cannot be said. None where
// memory runs out on these few.
std::optional<int64_t> measure_bytes_per_sample(const Context& context, Generator& generator, const WorkEntry& entry) {
  const std::shared_ptr<const PreparedPrompt> prompt = prepared(entry, generator);
  const Stream first{static_cast<uint64_t>(context.config.seed), 0};
  const auto peak = [&](int64_t count) {
    release_cached_memory(context.device);
    return peak_memory_bytes(context.device, [&] { generator.try_step(consecutive(first, count, prompt)); });
  };
  std::optional<int64_t> each;
  try {
    const int64_t little = peak(few), much = peak(more);
    each = little <= 0 ? 0 : (much - little) / (more - few);
  } catch (const std::exception& error) {
    if (!is_out_of_memory(error)) {
      throw;
    }
  }
  release_cached_memory(context.device);
  return each;
}

int64_t rows_of(const std::vector<SampleTask>& batch) {
  return std::accumulate(batch.begin(), batch.end(), int64_t{0},
                         [](int64_t rows, const SampleTask& task) { return rows + task.prompt->rows; });
}

}  // namespace

BatchPlanner::BatchPlanner(const Work& work, Generator& generator, int64_t first, int64_t end,
                           std::function<bool(int64_t)> done)
    : work_(work), generator_(generator), next_(first), end_(end), done_(std::move(done)) {}

BatchPlanner::Span BatchPlanner::look_ahead(int64_t first, int64_t most) const {
  Span span;
  const WorkEntry* entry = nullptr;
  std::shared_ptr<const PreparedPrompt> prompt;
  for (span.end = first; span.end < end_ && static_cast<int64_t>(span.samples.size()) < most; ++span.end) {
    if (done_(span.end)) {
      continue;
    }
    if (const WorkEntry& own = work_.entry_of(span.end); &own != entry) {
      entry = &own;
      prompt = prepared(own, generator_);
    }
    span.samples.push_back(work_.task_of(span.end));
    span.samples.back().prompt = prompt;
  }
  std::stable_sort(span.samples.begin(), span.samples.end(), [](const SampleTask& left, const SampleTask& right) {
    const auto order = [](const PreparedPrompt& one) {
      return std::make_tuple(one.batch_kind, one.length, one.generated);
    };
    return order(*left.prompt) < order(*right.prompt);
  });
  return span;
}

std::vector<SampleTask> BatchPlanner::next(int64_t size) {
  if (!returned_.empty()) {
    std::vector<SampleTask> batch = std::move(returned_.front());
    returned_.pop_front();
    return batch;
  }
  if (window_.empty()) {
    // A generator that bounds its forwards by itself has those of one batch alike, and its device waits for the first.
    const bool several = work_.entries().size() > 1 && !generator_.own_rows();
    Span span = upcoming_.valid() ? upcoming_.get() : look_ahead(next_, several ? batches_ahead * size : size);
    window_ = std::move(span.samples);
    next_ = span.end;
  }
  std::vector<SampleTask> batch;
  int64_t rows = 0;
  const auto joins = [&](const PreparedPrompt& next) {
    return batch.empty() || (rows + next.rows <= size && next.batch_kind == batch.front().prompt->batch_kind);
  };
  while (!window_.empty() && joins(*window_.front().prompt)) {
    rows += window_.front().prompt->rows;
    batch.push_back(std::move(window_.front()));
    window_.pop_front();
  }
  if (window_.empty() && next_ < end_ && work_.entries().size() > 1) {
    upcoming_ = in_background([this, size] { return look_ahead(next_, batches_ahead * size); });
  }
  return batch;
}

void BatchPlanner::put_back_halved(std::vector<SampleTask> batch) {
  const auto middle = batch.begin() + static_cast<std::ptrdiff_t>(batch.size() / 2);
  returned_.emplace_front(middle, batch.end());
  returned_.emplace_front(batch.begin(), middle);
}

void BatchPlanner::put_back(std::vector<SampleTask> batch) {
  if (!batch.empty()) {
    returned_.push_front(std::move(batch));
  }
}

int64_t BatchPlanner::frontier() const {
  int64_t lowest = next_;
  for (const std::vector<SampleTask>& batch : returned_) {
    for (const SampleTask& sample : batch) {
      lowest = std::min(lowest, sample.identity.index);
    }
  }
  for (const SampleTask& sample : window_) {
    lowest = std::min(lowest, sample.identity.index);
  }
  return lowest;
}

int64_t lowest_index(const std::vector<SampleTask>& batch) {
  const auto lowest = std::min_element(batch.begin(), batch.end(), [](const SampleTask& left, const SampleTask& right) {
    return left.identity.index < right.identity.index;
  });
  return lowest->identity.index;
}

void make_ready(Generator& generator, std::vector<SampleTask>& batch, const std::function<bool(int64_t)>& is_traced) {
  generator.settle(batch);
  for (SampleTask& task : batch) {
    task.traced = is_traced && is_traced(task.identity.index);
  }
}

std::vector<DrawnSample> draw_by_kind(Generator& generator, const std::vector<SampleTask>& tasks, Observer* observer) {
  std::map<int64_t, std::vector<size_t>> places;  // of the tasks of a kind
  for (size_t place = 0; place < tasks.size(); ++place) {
    places[tasks[place].prompt->batch_kind].push_back(place);
  }
  if (places.size() == 1) {
    return generator.draw(tasks, observer);
  }
  std::vector<DrawnSample> samples(tasks.size());
  for (const auto& [kind, of_kind] : places) {
    std::vector<SampleTask> alike;
    for (const size_t place : of_kind) {
      alike.push_back(tasks[place]);
    }
    std::vector<DrawnSample> drawn = generator.draw(alike, observer);
    for (size_t k = 0; k < of_kind.size(); ++k) {
      samples[of_kind[k]] = std::move(drawn[k]);
    }
  }
  return samples;
}

int64_t most_rows(const Config& config) {
  return config.batch_size.value_or(largest_batch);
}

int64_t choose_batch_size(const Context& context, Generator& generator, const Work& work, int64_t samples) {
  const WorkEntry& entry = work.longest();
  const int64_t limit = context.config.batch_size.value_or(generator.own_rows().value_or(largest_batch));
  const int64_t most = samples <= limit / entry.rows ? samples * entry.rows : limit;
  const int64_t wanted = std::max<int64_t>(1, most);
  if (context.config.batch_size || generator.own_rows()) {
    return wanted;
  }
  const int64_t estimate =
      entry.length * (activation_bytes_per_token + context.model->info().output_size * bytes_per_logit);
  const int64_t free = free_memory_bytes(context.device);
  if (wanted <= more || free / ample / wanted >= estimate) {
    return wanted;
  }
  const std::optional<int64_t> measured = measure_bytes_per_sample(context, generator, entry);
  if (!measured) {
    notice("out of memory on {} while the batch size was measured; going on with {} samples at once.",
           context.device.str(), few);
    return few;
  }
  // A recorded step keeps memory of its own beside that of the first, unrecorded one.
  const int64_t each = *measured > 0 ? *measured * (context.device.is_cuda() ? 2 : 1) : estimate;
  return std::clamp<int64_t>(free / 2 / each, 1, wanted);
}

int64_t even_rows(int64_t rows, int64_t room, int64_t devices) {
  constexpr int64_t multiple = 8;  // at which kernels are at their best
  const auto divided_up = [](int64_t number, int64_t by) { return (number + by - 1) / by; };
  const int64_t batches = devices * divided_up(rows, devices * room);
  return std::min(room, divided_up(divided_up(rows, batches), multiple) * multiple);
}

int64_t halve_batch(BatchPlanner& planner, std::vector<SampleTask> batch, at::Device device) {
  const size_t count = batch.size();
  const int64_t rows = std::max<int64_t>(1, rows_of(batch) / 2);
  planner.put_back_halved(std::move(batch));
  release_cached_memory(device);
  notice("out of memory on {} with {} samples at once; going on with {}.", device.str(), count, count / 2);
  return rows;
}

void fail_for_one_sample(at::Device device) {
  fail(ExitCode::failed,
       "out of memory on {} with a single sample. Reduce the length (--sequence_length, --max_new_tokens) or use a "
       "smaller model or dtype.",
       device.str());
}

int64_t for_each_batch(BatchPlanner& planner, int64_t batch_size, at::Device device,
                       const std::function<void(const std::vector<SampleTask>&)>& run_batch,
                       const std::function<bool()>& stop) {
  while (!stop()) {
    std::vector<SampleTask> batch = planner.next(batch_size);
    if (batch.empty()) {
      break;
    }
    try {
      run_batch(batch);
      continue;
    } catch (const std::exception& error) {
      if (!is_out_of_memory(error)) {
        throw;
      }
    }
    if (batch.size() == 1) {
      fail_for_one_sample(device);
    }
    batch_size = halve_batch(planner, std::move(batch), device);
  }
  return batch_size;
}

}  // namespace demask

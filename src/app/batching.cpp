#include "app/batching.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <tuple>
#include <utility>

#include "core/error.h"
#include "model/device.h"

namespace demask {
namespace {

// Beyond this a larger batch is no faster, and progress and interruption get coarse.
constexpr int64_t largest_batch = 256;

// Batches that are put together at once from prompts of several kinds or lengths.
constexpr int64_t batches_ahead = 16;

// More than any model of 12 layers, 768 wide, takes for activations, and some ten copies of the logits (filters,
// softmax, cumulative sums) in float32. Where so much is there several times over, nothing need be measured.
constexpr int64_t activation_bytes_per_token = int64_t{64} * 1024;
constexpr int64_t bytes_per_logit = int64_t{10} * 4;
constexpr int64_t ample = 8;  // times

// Those measured: their difference leaves out what does not grow with the batch.
constexpr int64_t few = 2, more = 6;

const WorkEntry& longest(const Work& work) {
  return *std::max_element(work.entries().begin(), work.entries().end(),
                           [](const WorkEntry& left, const WorkEntry& right) { return left.length < right.length; });
}

// Bytes that a sample more in the batch takes; 0 where that cannot be said.
int64_t measure_bytes_per_sample(const Session& session, const Method& method, const WorkEntry& entry) {
  const std::shared_ptr<const PreparedPrompt> prompt = method.prepare(entry.item, /*quiet=*/true);
  const auto peak = [&](int64_t count) {
    std::vector<Request> requests;
    for (int64_t k = 0; k < count; ++k) {
      requests.push_back({{static_cast<uint64_t>(session.config.seed), k}, prompt, false});
    }
    release_cached_memory(session.device);
    return peak_memory_bytes(session.device, [&] { method.try_step(requests); });
  };
  const int64_t little = peak(few), much = peak(more);
  release_cached_memory(session.device);
  return little <= 0 ? 0 : (much - little) / (more - few);
}

}  // namespace

BatchPlanner::BatchPlanner(const Work& work, const Method& method, int64_t first, int64_t end,
                           std::function<bool(int64_t)> done)
    : work_(work), method_(method), next_(first), end_(end), done_(std::move(done)) {}

BatchPlanner::Span BatchPlanner::look_ahead(int64_t first, int64_t size) const {
  const size_t most = static_cast<size_t>(work_.entries().size() > 1 ? batches_ahead * size : size);
  Span span;
  const WorkEntry* entry = nullptr;
  std::shared_ptr<const PreparedPrompt> prompt;
  for (span.end = first; span.end < end_ && span.samples.size() < most; ++span.end) {
    if (done_(span.end)) {
      continue;
    }
    if (const WorkEntry& own = work_.entry_of(span.end); &own != entry) {
      entry = &own;
      prompt = method_.prepare(own.item, /*quiet=*/true);
    }
    span.samples.push_back({span.end, {work_.stream_of(span.end), prompt, false}});
  }
  std::stable_sort(span.samples.begin(), span.samples.end(), [](const PlannedSample& left, const PlannedSample& right) {
    const auto order = [](const PreparedPrompt& one) {
      return std::make_tuple(one.batch_kind, one.length, one.generated);
    };
    return order(*left.request.prompt) < order(*right.request.prompt);
  });
  return span;
}

PlannedBatch BatchPlanner::next(int64_t size) {
  if (window_.empty()) {
    Span span = upcoming_.valid() ? upcoming_.get() : look_ahead(next_, size);
    window_ = std::move(span.samples);
    next_ = span.end;
  }
  PlannedBatch batch;
  while (!window_.empty() && static_cast<int64_t>(batch.size()) < size &&
         (batch.empty() || window_.front().request.prompt->batch_kind == batch.front().request.prompt->batch_kind)) {
    batch.push_back(std::move(window_.front()));
    window_.pop_front();
  }
  if (window_.empty() && next_ < end_ && work_.entries().size() > 1) {
    upcoming_ = std::async(std::launch::async, [this, size] { return look_ahead(next_, size); });
  }
  return batch;
}

int64_t BatchPlanner::frontier() const {
  int64_t lowest = next_;
  for (const PlannedSample& sample : window_) {
    lowest = std::min(lowest, sample.index);
  }
  return lowest;
}

int64_t choose_batch_size(const Session& session, const Method& method, const Work& work, int64_t samples) {
  if (session.config.batch_size) {
    return std::max<int64_t>(1, std::min(*session.config.batch_size, samples));
  }
  const int64_t wanted = std::max<int64_t>(1, std::min(samples, largest_batch));
  const WorkEntry& entry = longest(work);
  const int64_t estimate =
      entry.length * (activation_bytes_per_token + session.model->info().output_size * bytes_per_logit);
  const int64_t free = free_memory_bytes(session.device);
  if (wanted <= more || free / ample / wanted >= estimate) {
    return wanted;
  }
  const int64_t measured = measure_bytes_per_sample(session, method, entry);
  // A recorded step keeps memory of its own beside that of the first, unrecorded one.
  const int64_t each = measured > 0 ? measured * (session.device.is_cuda() ? 2 : 1) : estimate;
  return std::clamp<int64_t>(free / 2 / each, 1, wanted);
}

void for_each_batch(BatchPlanner& planner, int64_t batch_size, at::Device device,
                    const std::function<void(const PlannedBatch&)>& run_batch, const std::function<bool()>& stop) {
  std::deque<PlannedBatch> halves;  // of a batch that did not fit
  while (!stop()) {
    PlannedBatch batch;
    if (halves.empty()) {
      batch = planner.next(batch_size);
    } else {
      batch = std::move(halves.front());
      halves.pop_front();
    }
    if (batch.empty()) {
      return;
    }
    try {
      run_batch(batch);
      continue;
    } catch (const std::exception& error) {
      if (!is_out_of_memory(error)) {
        throw;
      }
    }
    const auto count = static_cast<int64_t>(batch.size());
    if (count == 1) {
      fail(ExitCode::failed,
           "out of memory on {} with a single sample. Reduce --sequence_length or use a smaller model or dtype.",
           device.str());
    }
    batch_size = count / 2;
    const auto middle = batch.begin() + batch_size;
    halves.emplace_front(middle, batch.end());
    halves.emplace_front(batch.begin(), middle);
    release_cached_memory(device);
    notice(
        fmt::format("out of memory on {} with {} samples at once; going on with {}.", device.str(), count, batch_size));
  }
}

}  // namespace demask

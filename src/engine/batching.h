// Splits a run into batches that fit in memory.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <optional>
#include <vector>

#include "engine/generator.h"
#include "engine/work.h"

namespace demask {

// Beyond this a larger batch is no faster, and progress and interruption get coarse.
inline constexpr int64_t largest_batch = 256;

// Rows that a batch has at most, whatever memory there is.
int64_t most_rows(const Config& config);

// Cuts samples of a run into batches of prompts that can be drawn together, alike in length. It looks ahead some
// batches and no further, so that what is drawn before its turn stays little; prompts are made ready in the background.
class BatchPlanner {
 public:
  // Of the indices first .. end - 1, those that are not `done`. All arguments must outlive the planner.
  BatchPlanner(const Work& work, Generator& generator, int64_t first, int64_t end, std::function<bool(int64_t)> done);

  // Of at most `size` rows, or one sample that takes more; empty where all are handed out.
  std::vector<SampleTask> next(int64_t size);
  // Takes back a batch that did not fit, of two samples or more: its halves come next, whatever size is asked for.
  void put_back_halved(std::vector<SampleTask> batch);
  // Takes back a batch that was not drawn, which comes next, as it is; it may be empty.
  void put_back(std::vector<SampleTask> batch);
  // Every index below is done or handed out, and not put back.
  int64_t frontier() const;

 private:
  using Window = std::deque<SampleTask>;
  struct Span {
    Window samples;
    int64_t end;  // of the indices looked at
  };
  Span look_ahead(int64_t first, int64_t most) const;  // at most so many samples

  const Work& work_;
  Generator& generator_;
  int64_t next_, end_;
  std::function<bool(int64_t)> done_;
  Window window_;
  std::deque<std::vector<SampleTask>> returned_;  // put back
  std::future<Span> upcoming_;
};

// Of a batch's samples, of which there is one at least.
int64_t lowest_index(const std::vector<SampleTask>& batch);

// Makes a batch ready to be drawn: what its prompts leave open is settled, and each task knows whether it is traced. No
// sample is where `is_traced` is empty.
void make_ready(Generator& generator, std::vector<SampleTask>& batch, const std::function<bool(int64_t)>& is_traced);

// Draws samples that may have become of several kinds since they were put together, kind by kind: in the order of the
// tasks. The observer may be null. Throws as Generator::draw.
std::vector<DrawnSample> draw_by_kind(Generator& generator, const std::vector<SampleTask>& tasks, Observer* observer);

// Rows of a batch, one a sample or more: batch_size where it is set, else as many as memory allows. Where memory may be
// short, one step of a few of the longest prompts is measured. Never more than `samples` samples need.
int64_t choose_batch_size(const Context& context, Generator& generator, const Work& work, int64_t samples);

// Rows of a batch where `devices` devices share `rows` rows of work, of which each has room for `room` at once: as many
// as give each device the same number of batches, all about as large.
int64_t even_rows(int64_t rows, int64_t room, int64_t devices);

// What follows where a batch of two samples or more ran out of memory on the device: its halves are put back, the
// device's cache is emptied, and a notice says so. Returns the rows that batches have from now on.
int64_t halve_batch(BatchPlanner& planner, std::vector<SampleTask> batch, at::Device device);

// Throws Error(failed): the device has no memory for a single sample.
[[noreturn]] void fail_for_one_sample(at::Device device);

// Calls run_batch for every batch of the planner, until `stop` says so. A batch that runs out of memory is halved and
// tried again, with a notice on stderr; those after it are as small. Returns the size of batches in the end. Throws
// Error(failed) when not even one sample fits.
int64_t for_each_batch(BatchPlanner& planner, int64_t batch_size, at::Device device,
                       const std::function<void(const std::vector<SampleTask>&)>& run_batch,
                       const std::function<bool()>& stop);

}  // namespace demask

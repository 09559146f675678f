// A run made ready and its loop: the one way in which the program, the library and the benchmark draw samples.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "engine/batching.h"
#include "engine/context.h"
#include "engine/generator.h"
#include "engine/work.h"

namespace demask {

// What a caller of Engine::draw wants to know and to say. All but `on_batch` may be empty.
struct DrawHooks {
  Observer* observer = nullptr;
  // Samples that need not be drawn. Asked some batches ahead, perhaps on another thread.
  std::function<bool(int64_t index)> is_done;
  std::function<bool(int64_t index)> is_traced;  // samples that come with a trace
  // Given each finished batch; every index below `frontier` has been given by then, or was done.
  std::function<void(const std::vector<SampleTask>& tasks, std::vector<DrawnSample> samples, int64_t frontier)>
      on_batch;
  std::function<bool()> stops;  // asked between batches
};

// How large batches may be as far as was found out, for a list that is drawn piece by piece.
struct BatchRoom {
  int64_t length = 0;  // of the longest text that it is known for
  int64_t rows = 0;
};

struct DrawTotals {
  double elapsed_s = 0;  // of generation
  int64_t samples = 0;
  int64_t tokens = 0;    // generated, over all samples
  bool gave_up = false;  // the last batch
};

class Engine {
 public:
  // Loads what the configuration names. `gives_up` is asked before each step whether to give up the batch in flight; it
  // may be empty. Throws Error.
  explicit Engine(const ParsedConfig& parsed, const std::function<bool()>& gives_up = {});

  const Context& context() const { return *context_; }
  Generator& generator() const { return *generator_; }

  // The settings' own prompt, or a list of prompts, as work. Throws Error, see Work.
  Work own_work() const { return {*context_, *generator_}; }
  Work work_of(PromptList list) const { return {*context_, *generator_, std::move(list)}; }

  // A list of texts to score, and their scores, of a run whose settings draw samples; in its DrawnSample each has a
  // score. Throws Error as resolve_score_method and
  // Work.
  Work scores_of(PromptList list) { return {*context_, scorer(), std::move(list)}; }
  DrawTotals score(const Work& work, const DrawHooks& hooks) {
    return draw_by(scorer(), work, work.first(), work.end(), work.samples(), hooks);
  }

  // Draws the samples first .. end - 1 of the work that are not done, of which there are `left`, in batches that fit in
  // memory. Throws Error, and what the hooks throw.
  DrawTotals draw(const Work& work, int64_t first, int64_t end, int64_t left, const DrawHooks& hooks) const {
    return draw_by(*generator_, work, first, end, left, hooks);
  }

  // The same for a piece of a list that is read as it comes, all of it. Memory is measured for the first piece and for
  // those with a longer text only.
  DrawTotals draw_piece(const Work& work, BatchRoom& room, const DrawHooks& hooks) const;

 private:
  Generator& scorer();
  DrawTotals draw_by(Generator& generator, const Work& work, int64_t first, int64_t end, int64_t left,
                     const DrawHooks& hooks) const;
  // `batch_size` is that of the last batch in the end.
  void draw_batches(Generator& generator, const Work& work, int64_t first, int64_t end, int64_t& batch_size,
                    const DrawHooks& hooks, DrawTotals& totals) const;

  std::function<bool()> gives_up_;
  std::unique_ptr<Context> context_;  // the generators refer to it
  std::unique_ptr<Generator> generator_;
  std::unique_ptr<Generator> scorer_;  // made where texts are scored beside samples
};

}  // namespace demask

// A run made ready and its loop: the one way in which the program, the library and the benchmark draw samples.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "engine/batching.h"
#include "engine/context.h"
#include "engine/draw_hooks.h"
#include "engine/generator.h"
#include "engine/work.h"

namespace demask {

// How large batches may be, as far as it is known. A list that is drawn piece by piece takes it from piece to piece.
struct BatchRoom {
  int64_t length = 0;  // of the longest text that it is known for
  int64_t rows = 0;
};

class Engine {
 public:
  // Loads what the configuration names. `gives_up` is asked before each step whether to give up the batch in flight; it
  // may be empty. Where `devices` names any, they take the place of the settings' own. Throws Error.
  explicit Engine(const ParsedConfig& parsed, const std::function<bool()>& gives_up = {},
                  const std::vector<at::Device>& devices = {}, const LoadHints& hints = {});
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine();

  const Context& context() const { return *context_; }
  Generator& generator() const { return *generator_; }
  // Model calls so far, of all devices. Not while it draws on several.
  int64_t forwards() const;
  // The share of the texts' positions that they computed, where a cache keeps some.
  double computed_share() const;

  // The settings' own prompt, or a list of prompts, as work. Throws Error, see Work.
  Work own_work() const { return {*context_, *generator_}; }
  Work work_of(PromptList list) const { return {*context_, *generator_, std::move(list)}; }

  // Texts to score, and their scores, for a run whose settings draw samples. The first device scores them. The
  // DrawnSample of each text has its score. Throws Error as resolve_score_method and Work.
  Work scores_of(PromptList list) { return {*context_, scorer(), std::move(list)}; }
  DrawTotals score(const Work& work, const DrawHooks& hooks) {
    return draw_by(scorer(), work, work.first(), work.end(), work.samples(), hooks);
  }

  // Draws the samples first .. end - 1 of the work that are not done, of which there are `left`, in batches that fit in
  // memory, on every device where that is more than one batch. Throws Error, and what the hooks throw.
  DrawTotals draw(const Work& work, int64_t first, int64_t end, int64_t left, const DrawHooks& hooks) const {
    return draw_by(*generator_, work, first, end, left, hooks);
  }

  // The same for all of one piece of a list that is read as it comes. Memory is measured for the first piece, and again
  // where a piece has a longer text.
  DrawTotals draw_piece(const Work& work, BatchRoom& room, const DrawHooks& hooks) const;

 private:
  struct Station;

  // What is to be drawn, and for how many samples batches are made.
  struct Drawing {
    const Work& work;
    int64_t first, end, left;
    int64_t planned;
  };

  Generator& scorer();
  DrawTotals draw_by(Generator& generator, const Work& work, int64_t first, int64_t end, int64_t left,
                     const DrawHooks& hooks) const;
  DrawTotals draw_in(BatchRoom& room, Generator& generator, const Drawing& drawing, const DrawHooks& hooks) const;
  void draw_alone(int64_t& rows, Generator& generator, at::Device device, const Drawing& drawing,
                  const DrawHooks& hooks, DrawTotals& totals) const;
  void draw_together(BatchRoom& room, const Drawing& drawing, const DrawHooks& hooks, DrawTotals& totals) const;
  std::vector<Station*> sound_stations() const;
  Generator& ready(Station& station) const;
  int64_t rows_on(Station& station, BatchRoom& room, const Drawing& drawing, size_t devices) const;

  std::function<bool()> gives_up_;
  mutable std::atomic<bool> abandoned_{false};  // batches in flight are of no use
  std::unique_ptr<Context> context_;            // the generators refer to it
  std::unique_ptr<Generator> generator_;
  std::unique_ptr<Generator> scorer_;               // made where texts are scored beside samples
  std::vector<std::unique_ptr<Station>> stations_;  // one a device
};

}  // namespace demask

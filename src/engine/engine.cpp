#include "engine/engine.h"

#include <chrono>
#include <exception>
#include <utility>

#include "engine/scoring_generator.h"
#include "kernels/threads.h"

namespace demask {
namespace {

// What a caller's hook threw, past those who would take it for memory that ran out in drawing.
struct HookThrew {
  std::exception_ptr what;
};

// What draw(totals) comes to, also where it is told to give up. What a hook threw goes on as it was.
template <typename Draw>
DrawTotals unless_given_up(const Draw& draw) {
  DrawTotals totals;
  try {
    draw(totals);
  } catch (const GivenUp&) {
    totals.gave_up = true;
  } catch (const HookThrew& threw) {
    std::rethrow_exception(threw.what);
  }
  return totals;
}

}  // namespace

Engine::Engine(const ParsedConfig& parsed, const std::function<bool()>& gives_up) : gives_up_(gives_up) {
  kernels::settle_threads();
  context_ = std::make_unique<Context>(open_context(parsed));
  generator_ = make_generator(*context_, gives_up);
}

Generator& Engine::scorer() {
  if (!scorer_) {
    scorer_ = make_scoring_generator(*context_, gives_up_);
  }
  return *scorer_;
}

DrawTotals Engine::draw_by(Generator& generator, const Work& work, int64_t first, int64_t end, int64_t left,
                           const DrawHooks& hooks) const {
  if (left == 0) {
    return {};
  }
  const auto started = std::chrono::steady_clock::now();
  int64_t batch_size = 0;
  DrawTotals totals = unless_given_up([&](DrawTotals& so_far) {
    batch_size = choose_batch_size(*context_, generator, work, left);
    draw_batches(generator, work, first, end, batch_size, hooks, so_far);
  });
  totals.elapsed_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  return totals;
}

DrawTotals Engine::draw_piece(const Work& work, BatchRoom& room, const DrawHooks& hooks) const {
  const auto started = std::chrono::steady_clock::now();
  DrawTotals totals = unless_given_up([&](DrawTotals& so_far) {
    if (const int64_t longest = work.longest().length; longest > room.length) {
      room = {longest, choose_batch_size(*context_, *generator_, work, most_rows(context_->config))};
    }
    draw_batches(*generator_, work, work.first(), work.end(), room.rows, hooks, so_far);
  });
  totals.elapsed_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  return totals;
}

void Engine::draw_batches(Generator& generator, const Work& work, int64_t first, int64_t end, int64_t& batch_size,
                          const DrawHooks& hooks, DrawTotals& totals) const {
  const auto is_done = [&hooks](int64_t index) { return hooks.is_done && hooks.is_done(index); };
  BatchPlanner planner(work, generator, first, end, is_done);
  const auto run_batch = [&](std::vector<SampleTask> batch) {
    generator.settle(batch);
    int64_t tokens = 0;
    for (SampleTask& task : batch) {
      task.traced = hooks.is_traced && hooks.is_traced(task.identity.index);
      tokens += task.prompt->generated;
    }
    std::vector<DrawnSample> samples = draw_by_kind(generator, batch, hooks.observer);
    try {
      hooks.on_batch(batch, std::move(samples), planner.frontier());
    } catch (const std::exception&) {
      throw HookThrew{std::current_exception()};
    }
    totals.samples += static_cast<int64_t>(batch.size());
    totals.tokens += tokens;
  };
  batch_size = for_each_batch(planner, batch_size, context_->device, run_batch,
                              [&hooks] { return hooks.stops && hooks.stops(); });
}

}  // namespace demask

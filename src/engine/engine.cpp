#include "engine/engine.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "engine/device_team.h"
#include "engine/lone_device.h"
#include "engine/scoring_generator.h"
#include "kernels/threads.h"
#include "model/device.h"

namespace demask {
namespace {

// The totals that draw(totals) counts. Where it is told to give up, they are those of what was drawn before.
template <typename Draw>
DrawTotals unless_given_up(const Draw& draw) {
  DrawTotals totals;
  try {
    draw(totals);
  } catch (const GivenUp&) {
    totals.gave_up = true;
  }
  return totals;
}

void find_room(BatchRoom& room, const Context& context, Generator& generator, const Work& work, int64_t samples) {
  if (const int64_t longest = work.longest().length; longest > room.length) {
    room = {longest, choose_batch_size(context, generator, work, samples)};
  }
}

}  // namespace

int64_t generated_tokens(const std::vector<SampleTask>& tasks) {
  int64_t tokens = 0;
  for (const SampleTask& task : tasks) {
    tokens += task.prompt->generated;
  }
  return tokens;
}

// A device, and the context and generator that draw there. The first device has the engine's own. Those of another are
// made when it is first wanted.
struct Engine::Station {
  at::Device device;
  const Context* context = nullptr;
  Generator* generator = nullptr;
  std::unique_ptr<Context> own_context = {};
  std::unique_ptr<Generator> own_generator = {};
  BatchRoom room = {};
  bool failed = false;
};

Engine::Engine(const ParsedConfig& parsed, const std::function<bool()>& gives_up,
               const std::vector<at::Device>& devices, const LoadHints& hints)
    : gives_up_([this, gives_up] { return abandoned_ || (gives_up && gives_up()); }) {
  kernels::settle_threads();
  context_ = std::make_unique<Context>(open_context(parsed, devices, hints));
  const WorksOn device(context_->device);
  generator_ = make_generator(*context_, gives_up_);
  for (const at::Device each : context_->devices) {
    stations_.push_back(std::make_unique<Station>(Station{each}));
  }
  stations_.front()->context = context_.get();
  stations_.front()->generator = generator_.get();
}

Engine::~Engine() = default;

Generator& Engine::scorer() {
  if (!scorer_) {
    const WorksOn device(context_->device);
    scorer_ = make_scoring_generator(*context_, gives_up_);
  }
  return *scorer_;
}

int64_t Engine::forwards() const {
  int64_t forwards = 0;
  for (const auto& station : stations_) {
    forwards += station->generator != nullptr ? station->generator->forwards() : 0;
  }
  return forwards;
}

double Engine::computed_share() const {
  double computed = 0;
  int64_t forwards = 0;
  for (const auto& station : stations_) {
    if (station->generator != nullptr) {
      computed += station->generator->computed_share() * static_cast<double>(station->generator->forwards());
      forwards += station->generator->forwards();
    }
  }
  return forwards == 0 ? 1 : computed / static_cast<double>(forwards);
}

DrawTotals Engine::draw_by(Generator& generator, const Work& work, int64_t first, int64_t end, int64_t left,
                           const DrawHooks& hooks) const {
  if (left == 0) {
    return {};
  }
  BatchRoom room;
  for (const auto& station : stations_) {
    station->room = {};
  }
  return draw_in(room, generator, {work, first, end, left, left}, hooks);
}

DrawTotals Engine::draw_piece(const Work& work, BatchRoom& room, const DrawHooks& hooks) const {
  return draw_in(room, *generator_, {work, work.first(), work.end(), work.samples(), most_rows(context_->config)},
                 hooks);
}

// Draws in batches of at most `room`, which is measured here where it is not known for the longest text. One device
// alone draws where an observer looks at each step, or where texts are scored beside samples.
DrawTotals Engine::draw_in(BatchRoom& room, Generator& generator, const Drawing& drawing,
                           const DrawHooks& hooks) const {
  const auto started = std::chrono::steady_clock::now();
  abandoned_ = false;
  DrawTotals totals = unless_given_up([&](DrawTotals& so_far) {
    const std::vector<Station*> sound = sound_stations();
    const bool draws_samples = &generator == generator_.get();
    Station& station = draws_samples ? *sound.front() : *stations_.front();
    const WorksOn device(station.device);
    Generator& own = draws_samples ? ready(station) : generator;
    find_room(room, *station.context, own, drawing.work, drawing.planned);
    const bool several_batches = drawing.left * drawing.work.longest().rows > room.rows;
    const bool looks_at_steps = hooks.observer != nullptr && hooks.observer->reads_tensors();
    if (draws_samples && sound.size() > 1 && several_batches && !looks_at_steps) {
      draw_together(room, drawing, hooks, so_far);
    } else {
      draw_alone(room.rows, own, station.device, drawing, hooks, so_far);
    }
  });
  totals.elapsed_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  return totals;
}

void Engine::draw_alone(int64_t& rows, Generator& generator, at::Device device, const Drawing& drawing,
                        const DrawHooks& hooks, DrawTotals& totals) const {
  const auto is_done = [&hooks](int64_t index) { return hooks.is_done && hooks.is_done(index); };
  BatchPlanner planner(drawing.work, generator, drawing.first, drawing.end, is_done);
  LoneDevice(generator, device, planner, hooks).draw(rows, totals);
}

void Engine::draw_together(BatchRoom& room, const Drawing& drawing, const DrawHooks& hooks, DrawTotals& totals) const {
  const auto is_done = [&hooks](int64_t index) { return hooks.is_done && hooks.is_done(index); };
  BatchPlanner planner(drawing.work, *generator_, drawing.first, drawing.end, is_done);
  const std::vector<Station*> sound = sound_stations();
  std::vector<TeamMember> members;
  for (Station* const station : sound) {
    BatchRoom& own_room = station == sound.front() ? room : station->room;
    TeamMember member;
    member.device = station->device;
    member.prepare = [this, station, &own_room, &drawing, devices = sound.size()] {
      return rows_on(*station, own_room, drawing, devices);
    };
    member.draw = [station, &hooks](std::vector<SampleTask>& batch, Observer* observer) {
      make_ready(*station->generator, batch, hooks.is_traced);
      return draw_by_kind(*station->generator, batch, observer);
    };
    member.on_smaller = [&own_room](int64_t rows) { own_room.rows = std::min(own_room.rows, rows); };
    member.on_failure = [station] { station->failed = true; };
    members.push_back(std::move(member));
  }
  DeviceTeam(members, planner, hooks, abandoned_).draw(totals);
}

// The stations whose device has not failed. Where every one has, all of them: a further try says why.
std::vector<Engine::Station*> Engine::sound_stations() const {
  std::vector<Station*> sound, all;
  for (const auto& station : stations_) {
    all.push_back(station.get());
    if (!station->failed) {
      sound.push_back(station.get());
    }
  }
  return sound.empty() ? all : sound;
}

Generator& Engine::ready(Station& station) const {
  if (station.generator == nullptr) {
    station.own_context = std::make_unique<Context>(context_on(*context_, station.device));
    station.own_generator = generator_->on_device(*station.own_context);
    station.context = station.own_context.get();
    station.generator = station.own_generator.get();
  }
  return *station.generator;
}

// The rows of this device's batches: what it has memory for, or fewer where the other devices would have to wait for
// its last batch.
int64_t Engine::rows_on(Station& station, BatchRoom& room, const Drawing& drawing, size_t devices) const {
  Generator& generator = ready(station);
  find_room(room, *station.context, generator, drawing.work, drawing.planned);
  return context_->config.batch_size
             ? room.rows
             : even_rows(drawing.left * drawing.work.longest().rows, room.rows, static_cast<int64_t>(devices));
}

}  // namespace demask

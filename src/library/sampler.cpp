// The library's one class, on the same engine as the program. This is the border: what crosses it is demask::Error, and
// what a caller's own function throws.
#include "demask/sampler.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <exception>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "config/command_line.h"
#include "config/fields.h"
#include "core/error.h"
#include "engine/engine.h"
#include "engine/sample_text.h"
#include "engine/scoring_generator.h"

namespace demask {
namespace {

// What a caller's function threw, on its way through the engine. No std::exception: nobody is to take it for a failure
// of demask's, or for memory that ran out.
struct CallbackThrew {
  std::exception_ptr what;
};

// Calls `call`, and turns what it throws other than Error into one.
template <typename Call>
auto guarded(const Call& call) {
  std::exception_ptr callback;
  try {
    return call();
  } catch (const CallbackThrew& threw) {
    callback = threw.what;
  } catch (const Error&) {
    throw;
  } catch (const c10::Error& error) {
    fail(ExitCode::failed, "LibTorch failed: {}", error.what_without_backtrace());
  } catch (const std::exception& error) {
    fail(ExitCode::failed, "failed: {}", error.what());
  }
  std::rethrow_exception(callback);
}

// Whether a setting is about what the program reads, writes, shows and does itself. Progress is on by default, and
// shown by nobody here.
bool is_of_the_program(const Field& field) {
  constexpr std::array<std::string_view, 8> ways_of_running = {"prompts", "on_error", "resume", "shard",
                                                               "merge",   "export",   "score",  "batch_wait_ms"};
  const bool runs = std::find(ways_of_running.begin(), ways_of_running.end(), field.name) != ways_of_running.end();
  return runs || (field.role == Role::shown && field.name != "show_progress");
}

ParsedConfig parse_settings(const std::vector<std::string>& arguments) {
  const CommandLine command = parse_command_line(arguments);
  if (command.action != CommandLine::Action::run) {
    fail(ExitCode::bad_usage, "--help, --version and --print_config are the program's: a Sampler takes settings only.");
  }
  for (const Field& field : fields()) {
    if (is_of_the_program(field) && !(value_of(field, command.parsed.config) == value_of(field, Config{}))) {
      fail(ExitCode::bad_usage, "{} is for the program: a Sampler gives its samples to the caller, and shows nothing.",
           field.name);
    }
  }
  return command.parsed;
}

}  // namespace

struct Sampler::Parts {
  explicit Parts(const std::vector<std::string>& arguments)
      : engine(parse_settings(arguments), [this] { return stopping.load(); }),
        device(name_of(engine.context().devices)),
        model(fmt::format("{} ({})", engine.context().checkpoint, engine.context().model->info().description)) {}

  int64_t draw(const Work& work, const OnSample& on_sample);
  int64_t score(const Work& work, const OnScore& on_score);

  std::atomic<bool> stopping{false};  // before the engine, which asks it
  Engine engine;
  std::string device, model;
};

namespace {

// Hands results to a caller in the order of their indices.
template <typename Result>
class InOrder {
 public:
  explicit InOrder(const std::function<void(const Result&)>& take) : take_(take) {}

  void add(Result result) { waiting_.emplace(result.identity.index, std::move(result)); }
  void hand_out(int64_t frontier) {
    for (; !waiting_.empty() && waiting_.begin()->first < frontier; waiting_.erase(waiting_.begin())) {
      try {
        take_(waiting_.begin()->second);
      } catch (...) {
        throw CallbackThrew{std::current_exception()};
      }
    }
  }

 private:
  const std::function<void(const Result&)>& take_;
  std::map<int64_t, Result> waiting_;  // made before their turn
};

}  // namespace

int64_t Sampler::Parts::draw(const Work& work, const OnSample& on_sample) {
  const Context& context = engine.context();
  InOrder<Sample> in_order(on_sample);
  DrawHooks hooks;
  hooks.stops = [this] { return stopping.load(); };
  hooks.on_batch = [&](const std::vector<SampleTask>& tasks, std::vector<DrawnSample> samples, int64_t frontier) {
    for (size_t k = 0; k < tasks.size(); ++k) {
      std::string text = sample_text(context, *tasks[k].prompt, samples[k].tokens);
      in_order.add({tasks[k].identity, std::move(text), std::move(samples[k].tokens), samples[k].self_confidence});
    }
    in_order.hand_out(frontier);
  };
  const DrawTotals totals = engine.draw(work, work.first(), work.end(), work.samples(), hooks);
  in_order.hand_out(work.end());
  return totals.samples;
}

int64_t Sampler::Parts::score(const Work& work, const OnScore& on_score) {
  InOrder<Score> in_order(on_score);
  DrawHooks hooks;
  hooks.stops = [this] { return stopping.load(); };
  hooks.on_batch = [&](const std::vector<SampleTask>& tasks, std::vector<DrawnSample> scored, int64_t frontier) {
    for (size_t k = 0; k < tasks.size(); ++k) {
      TextScore& own = *scored[k].score;
      in_order.add({tasks[k].identity, own.log_likelihood, own.standard_error, scored_tokens(*tasks[k].prompt),
                    std::move(own.each)});
    }
    in_order.hand_out(frontier);
  };
  const DrawTotals totals = engine.score(work, hooks);
  in_order.hand_out(work.end());
  return totals.samples;
}

Sampler::Sampler(const std::vector<std::string>& arguments)
    : parts_(guarded([&] { return std::make_unique<Parts>(arguments); })) {}
Sampler::~Sampler() = default;
Sampler::Sampler(Sampler&&) noexcept = default;
Sampler& Sampler::operator=(Sampler&&) noexcept = default;

int64_t Sampler::draw(const OnSample& on_sample) {
  parts_->stopping = false;
  return guarded([&] { return parts_->draw(parts_->engine.own_work(), on_sample); });
}

int64_t Sampler::draw(const std::vector<Prompt>& prompts, const OnSample& on_sample) {
  parts_->stopping = false;
  return guarded([&] {
    PromptList list{{}, prompts, {}};
    const Context& context = parts_->engine.context();
    for (Prompt& prompt : list.prompts) {
      if (!prompt.num_samples && context.given.count("num_samples") == 0) {
        prompt.num_samples = 1;
      }
    }
    return parts_->draw(parts_->engine.work_of(std::move(list)), on_sample);
  });
}

int64_t Sampler::score(const std::vector<Prompt>& texts, const OnScore& on_score) {
  parts_->stopping = false;
  return guarded([&] {
    PromptList list{{}, texts, {}};
    for (Prompt& text : list.prompts) {
      text.num_samples = 1;
      text.max_new_tokens = text.sequence_length = std::nullopt;
    }
    return parts_->score(parts_->engine.scores_of(std::move(list)), on_score);
  });
}

void Sampler::request_stop() noexcept {
  parts_->stopping = true;
}

const std::string& Sampler::device() const {
  return parts_->device;
}

const std::string& Sampler::model() const {
  return parts_->model;
}

}  // namespace demask

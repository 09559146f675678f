// Several devices as one. Without GPUs here: each device is the CPU once more, with a model and a thread of its own.
#include "engine/device_team.h"

#include <chrono>
#include <future>
#include <map>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "config/command_line.h"
#include "core/error.h"
#include "engine/engine.h"
#include "tests/support/catch.h"

using namespace demask;

namespace device_team_test {
namespace {

std::vector<std::string> settings(std::vector<std::string> own) {
  const std::string source = DEMASK_SOURCE_DIR;
  own.insert(own.end(), {"--out_dir=" + source + "/out", "--data_dir=" + source + "/data", "--device=cpu",
                         "--dtype=float32", "--diffusion_iterations=4", "--batch_size=3"});
  return own;
}

// All that is handed out, by index; checks that no index comes twice, and that the frontier keeps its word.
struct Given {
  std::map<int64_t, DrawnSample> samples;

  void take(const std::vector<SampleTask>& tasks, std::vector<DrawnSample> drawn, int64_t frontier) {
    for (size_t k = 0; k < tasks.size(); ++k) {
      CHECK(samples.emplace(tasks[k].identity.index, std::move(drawn.at(k))).second);
    }
    int64_t below = 0;
    for (const auto& [index, sample] : samples) {
      below += index < frontier ? 1 : 0;
    }
    CHECK(below == frontier);  // the runs here count from 0
  }
};

Given draw(const std::vector<std::string>& arguments, size_t devices, const std::vector<Prompt>& prompts) {
  const Engine engine(parse_command_line(settings(arguments)).parsed, {}, std::vector<at::Device>(devices, at::kCPU));
  const Work work = prompts.empty() ? engine.own_work() : engine.work_of({{}, prompts, {}});
  Given given;
  DrawHooks hooks;
  hooks.on_batch = [&](const std::vector<SampleTask>& tasks, std::vector<DrawnSample> samples, int64_t frontier) {
    given.take(tasks, std::move(samples), frontier);
  };
  const DrawTotals totals = engine.draw(work, 0, work.end(), work.samples(), hooks);
  CHECK(totals.samples == work.samples());
  CHECK(engine.forwards() > 0);
  return given;
}

void check_devices_change_nothing(const std::vector<std::string>& arguments, const std::vector<Prompt>& prompts = {}) {
  CAPTURE(arguments);
  const Given one = draw(arguments, 1, prompts), three = draw(arguments, 3, prompts);
  REQUIRE(one.samples.size() == three.samples.size());
  for (const auto& [index, sample] : one.samples) {
    const DrawnSample& other = three.samples.at(index);
    CHECK(other.tokens == sample.tokens);
    CHECK(other.self_confidence == sample.self_confidence);
    REQUIRE(other.score.has_value() == sample.score.has_value());
    if (sample.score) {
      CHECK(other.score->log_likelihood == sample.score->log_likelihood);
    }
  }
}

std::vector<Prompt> mixed_prompts() {
  std::vector<Prompt> prompts;
  for (const char* text : {"ROMEO:", "", "To be, or not to be", "The"}) {
    Prompt prompt;
    prompt.start_text = text;
    prompt.num_samples = 3;
    prompts.push_back(prompt);
  }
  return prompts;
}

// A run of `count` samples on devices that compute nothing, in batches of two rows.
class Run {
 public:
  explicit Run(int64_t count)
      : engine_(parse_command_line(settings({"--num_samples=" + std::to_string(count), "--sequence_length=8"})).parsed),
        work_(engine_.own_work()) {
    hooks.on_batch = [this](const std::vector<SampleTask>& tasks, std::vector<DrawnSample> samples, int64_t frontier) {
      given.take(tasks, std::move(samples), frontier);
    };
  }

  using Draw = std::function<void(const std::vector<SampleTask>& batch)>;
  void add(Draw draw, std::function<void()> on_ready = {}) {
    TeamMember member;
    member.prepare = [on_ready] {
      if (on_ready) {
        on_ready();
      }
      return 2;
    };
    member.draw = [draw = std::move(draw)](std::vector<SampleTask>& batch, Observer* /*observer*/) {
      draw(batch);
      return std::vector<DrawnSample>(batch.size());
    };
    member.on_failure = [this] { ++failed; };
    members_.push_back(std::move(member));
  }

  DrawTotals draw() {
    BatchPlanner planner(work_, engine_.generator(), 0, work_.end(), [](int64_t) { return false; });
    DrawTotals totals;
    DeviceTeam(members_, planner, hooks, abandoned).draw(totals);
    return totals;
  }

  DrawHooks hooks;
  Given given;
  std::atomic<bool> abandoned{false};
  std::atomic<int> failed{0};

 private:
  Engine engine_;
  Work work_;
  std::vector<TeamMember> members_;
};

void draws_well(const std::vector<SampleTask>& /*batch*/) {}

[[noreturn]] void is_lost() {
  throw std::runtime_error("CUDA error: unspecified launch failure\nmore that nobody wants to read");
}

}  // namespace

TEST_CASE("Samples of several devices are those of one, whatever is drawn") {
  check_devices_change_nothing({"--num_samples=14", "--sequence_length=24"});
  check_devices_change_nothing(
      {"--num_samples=8", "--sequence_length=24", "--strategy=remdm", "--best_of=2", "--score_draws=4"});
  check_devices_change_nothing({"--remasking_checkpoint_name=remasking.pt", "--num_samples=8", "--sequence_length=24"});
  check_devices_change_nothing({"--sampling_method=standard", "--max_new_tokens=12"}, mixed_prompts());
  check_devices_change_nothing({"--sequence_length=24", "--pattern=.*[aeiou]"}, mixed_prompts());
}

TEST_CASE("Where gaps make texts of several kinds, several devices agree about them") {
  std::vector<Prompt> prompts = mixed_prompts();
  for (Prompt& prompt : prompts) {
    prompt.infill = {{*prompt.start_text + "O"}, {"", 1, 4}, {" my "}, {"", 7, 7}, {" lord"}};
    prompt.start_text.reset();
  }
  prompts[1].infill = {{"ROMEO: "}, {"", 10, 10}, {" my lord"}};  // no gap
  check_devices_change_nothing({}, prompts);
}

TEST_CASE("A run that was stopped on several devices goes on with one, and a stream takes all of them") {
  const std::vector<std::string> arguments = settings({"--num_samples=40", "--sequence_length=24"});
  const ParsedConfig parsed = parse_command_line(arguments).parsed;
  const Given whole = draw({"--num_samples=40", "--sequence_length=24"}, 1, {});
  const Engine several(parsed, {}, std::vector<at::Device>(3, at::kCPU)), one(parsed);
  Given given;
  DrawHooks hooks;
  hooks.on_batch = [&](const std::vector<SampleTask>& tasks, std::vector<DrawnSample> samples, int64_t frontier) {
    given.take(tasks, std::move(samples), frontier);
  };
  hooks.stops = [&] { return !given.samples.empty(); };
  const Work work = several.own_work();
  const auto drawn = several.draw(work, 0, 40, 40, hooks).samples;
  CHECK(drawn < 40);
  CHECK(drawn == static_cast<int64_t>(given.samples.size()));

  hooks.stops = {};
  hooks.is_done = [before = given.samples](int64_t index) { return before.count(index) != 0; };
  CHECK(one.draw(work, 0, 40, 40 - drawn, hooks).samples == 40 - drawn);
  BatchRoom room;
  Given streamed;
  hooks.is_done = {};
  hooks.on_batch = [&](const std::vector<SampleTask>& tasks, std::vector<DrawnSample> samples, int64_t frontier) {
    streamed.take(tasks, std::move(samples), frontier);
  };
  for (const auto& [first, count] : {std::pair<int64_t, int64_t>{0, 8}, {8, 1}, {9, 31}}) {
    WorkEntry entry = prepare_entry(several.context(), several.generator(), {});
    entry.first = first;
    entry.samples = count;
    CHECK(several.draw_piece(Work(several.context(), {entry}), room, hooks).samples == count);
  }
  CHECK(room.rows == 3);
  for (const auto& [index, sample] : whole.samples) {
    CHECK(given.samples.at(index).tokens == sample.tokens);
    CHECK(streamed.samples.at(index).tokens == sample.tokens);
  }
}

TEST_CASE("A device that fails gives its batch to the others, and every sample is drawn once") {
  Run run(40);
  std::atomic<int> batches{0};
  run.add(draws_well);
  run.add([&](const std::vector<SampleTask>&) {
    if (++batches == 2) {
      is_lost();
    }
  });
  run.add([](const std::vector<SampleTask>&) { throw std::bad_alloc(); });  // for a half too, and for one sample
  run.add(draws_well, [] { throw std::bad_alloc(); });                      // no room for the model
  CHECK(run.draw().samples == 40);
  CHECK(run.given.samples.size() == 40);
  CHECK(run.failed >= 1);
}

TEST_CASE("A device that has nothing to do waits for what another may give back") {
  Run run(4);
  std::promise<void> other_is_done;
  std::future<void> done = other_is_done.get_future();
  std::atomic<bool> waits{false};
  // Whichever device is second takes the other batch; the first fails once that is handed out.
  const auto fails_in_the_end = [&](const std::vector<SampleTask>& batch) {
    if (batch.front().identity.index == 0 && !waits.exchange(true)) {
      done.wait();
      is_lost();
    }
  };
  run.add(fails_in_the_end);
  run.add(fails_in_the_end);
  run.hooks.on_batch = [&, take = run.hooks.on_batch](const std::vector<SampleTask>& tasks,
                                                      std::vector<DrawnSample> samples, int64_t frontier) {
    take(tasks, std::move(samples), frontier);
    if (tasks.front().identity.index == 2) {
      CHECK(frontier == 0);
      other_is_done.set_value();
    }
  };
  CHECK(run.draw().samples == 4);
  CHECK(run.failed == 1);
}

TEST_CASE("Where the last device fails, the run ends with its error") {
  Run lost(8);
  lost.add([](const std::vector<SampleTask>&) { is_lost(); });
  lost.add([](const std::vector<SampleTask>&) { is_lost(); });
  CHECK_THROWS_WITH(lost.draw(), Catch::Matchers::ContainsSubstring("unspecified launch failure"));
  CHECK(lost.failed == 2);

  Run full(8);
  full.add([](const std::vector<SampleTask>&) { throw std::bad_alloc(); });
  full.add([](const std::vector<SampleTask>&) { throw std::bad_alloc(); });
  CHECK_THROWS_WITH(full.draw(), Catch::Matchers::ContainsSubstring("out of memory on cpu with a single sample"));
}

TEST_CASE("An error that is no device's ends the run at once, after what was drawn before") {
  Run run(1000);
  run.add([&](const std::vector<SampleTask>& batch) {
    if (batch.front().identity.index >= 20) {
      throw Error(ExitCode::failed, "non-finite logits");
    }
  });
  run.add([&](const std::vector<SampleTask>& batch) {
    if (batch.front().identity.index >= 20) {
      while (!run.abandoned) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
      throw GivenUp{};
    }
  });
  CHECK_THROWS_WITH(run.draw(), Catch::Matchers::ContainsSubstring("non-finite logits"));
  CHECK(run.given.samples.size() == 20);
  CHECK(run.failed == 0);
}

TEST_CASE("A run that is to stop hands out what is in flight and takes no more") {
  Run run(1000);
  std::atomic<int64_t> begun{0};
  std::atomic<bool> stopping{false};
  for (int device = 0; device < 3; ++device) {
    run.add([&](const std::vector<SampleTask>& batch) {
      begun += static_cast<int64_t>(batch.size());
      stopping = stopping || begun >= 50;
    });
  }
  run.hooks.stops = [&] { return stopping.load(); };
  const DrawTotals totals = run.draw();
  CHECK(totals.samples == begun);
  CHECK(static_cast<int64_t>(run.given.samples.size()) == begun);
  CHECK(begun <= 50 + 2 * 3);
  CHECK_FALSE(totals.gave_up);

  Run giving_up(8);
  giving_up.add([](const std::vector<SampleTask>&) { throw GivenUp{}; });
  giving_up.add([](const std::vector<SampleTask>&) { throw GivenUp{}; });
  CHECK(giving_up.draw().gave_up);
  CHECK(giving_up.given.samples.empty());
}

TEST_CASE("What the caller's hook throws comes back as it was, and nothing is handed out after it") {
  struct Own {};
  Run run(1000);
  run.add(draws_well);
  run.add(draws_well);
  int calls = 0;
  run.hooks.on_batch = [&](const std::vector<SampleTask>&, const std::vector<DrawnSample>&, int64_t) {
    ++calls;
    throw Own{};
  };
  CHECK_THROWS_AS(run.draw(), Own);
  CHECK(calls == 1);
}

TEST_CASE("What watches several devices follows one batch at a time, and counts the others") {
  struct Seen : Observer {
    void on_batch(const BatchView& batch) override { text += "batch of " + std::to_string(batch.tokens) + "; "; }
    void on_step(const StepView& view) override { text += std::to_string(view.step) + "; "; }
    bool reads_tensors() const override { return false; }
    void on_batch_done() override { text += "done; "; }
    void on_other_batch_done(int64_t samples, int64_t tokens) override {
      text += "other of " + std::to_string(samples) + " and " + std::to_string(tokens) + "; ";
    }
    std::string text;
  } seen;
  FollowedDevice followed(&seen);
  FollowedDevice::View one(followed), other(followed);
  const auto step = [](int64_t number) {
    StepView view;
    view.step = number;
    return view;
  };
  BatchView small, large;
  small.samples.resize(2);
  small.tokens = 10;
  large.tokens = 70;
  one.on_batch(large);
  other.on_batch(small);
  one.on_step(step(1));
  other.on_step(step(5));
  other.on_batch_done();
  one.on_step(step(2));
  one.on_batch_done();
  other.on_batch(small);
  other.on_step(step(0));
  CHECK(seen.text == "batch of 70; 1; other of 2 and 10; 2; done; batch of 10; 0; ");
}

}  // namespace device_team_test

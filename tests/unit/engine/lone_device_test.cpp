// One device, on which nothing is computed: what is begun and handed out when.
#include "engine/lone_device.h"

#include <memory>
#include <new>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "tests/support/catch.h"

using namespace demask;

namespace lone_device_test {
namespace {

std::string name_of(const std::vector<SampleTask>& tasks) {
  return std::to_string(tasks.front().identity.index) + "-" + std::to_string(tasks.back().identity.index);
}

// Begins batches where it goes ahead; tells what it was asked.
class ToldGenerator : public Generator {
 public:
  class Told : public BatchUnderWay {
   public:
    explicit Told(ToldGenerator& of) : of_(of) {}
    std::vector<DrawnSample> finish(const std::vector<SampleTask>& tasks) override {
      of_.told.push_back("finish " + name_of(tasks));
      of_.fail_where(of_.failing_to_finish, tasks);
      return std::vector<DrawnSample>(tasks.size());
    }

   private:
    ToldGenerator& of_;
  };

  std::shared_ptr<const PreparedPrompt> prepare(const Prompt& /*given*/, bool /*quiet*/) override {
    auto prompt = std::make_shared<PreparedPrompt>();
    prompt->length = prompt->generated = 1;
    return prompt;
  }
  std::unique_ptr<BatchUnderWay> begin(const std::vector<SampleTask>& tasks, Observer* /*observer*/) override {
    if (!goes_ahead) {
      return nullptr;
    }
    told.push_back("begin " + name_of(tasks));
    if (tasks.size() > fitting) {
      throw std::bad_alloc();
    }
    fail_where(failing_to_begin, tasks);
    return std::make_unique<Told>(*this);
  }
  std::vector<DrawnSample> draw(const std::vector<SampleTask>& tasks, Observer* /*observer*/) override {
    told.push_back("draw " + name_of(tasks));
    return std::vector<DrawnSample>(tasks.size());
  }
  void try_step(const std::vector<SampleTask>& /*tasks*/) override {}
  int64_t forwards() const override { return 0; }
  std::unique_ptr<Generator> on_device(const Context& /*context*/) const override { return nullptr; }
  std::vector<std::pair<std::string, std::string>> describe(const PreparedPrompt& /*prompt*/) const override {
    return {};
  }

  bool goes_ahead = true;
  size_t fitting = 100;  // samples that there is memory for
  std::string failing_to_begin, failing_to_finish;
  std::vector<std::string> told;

 private:
  static void fail_where(const std::string& name, const std::vector<SampleTask>& tasks) {
    if (name_of(tasks) == name) {
      throw Error(ExitCode::failed, name);
    }
  }
};

// Draws `count` samples, two at once. Checks that none is given twice, and that the frontier keeps its word.
struct Run {
  explicit Run(int64_t number) : count(number) {
    Prompt prompt;
    prompt.start_text = "a";
    prompt.num_samples = number;
    list.prompts.push_back(prompt);
    hooks.on_batch = [this](const std::vector<SampleTask>& tasks, std::vector<DrawnSample> samples, int64_t frontier) {
      CHECK(samples.size() == tasks.size());
      generator.told.push_back("give " + name_of(tasks));
      for (const SampleTask& task : tasks) {
        CHECK(given.insert(task.identity.index).second);
      }
      for (int64_t index = 0; index < frontier; ++index) {
        CHECK(given.count(index) == 1);
      }
      if (name_of(tasks) == failing_hook) {
        throw std::bad_alloc();
      }
    };
  }

  void draw() {
    const Work work(context, generator, list);
    BatchPlanner planner(work, generator, 0, count, [](int64_t) { return false; });
    int64_t rows = 2;
    LoneDevice(generator, at::kCPU, planner, hooks).draw(rows, totals);
  }

  int64_t count;
  Context context;
  ToldGenerator generator;
  PromptList list;
  DrawHooks hooks;
  DrawTotals totals;
  std::set<int64_t> given;
  std::string failing_hook;
};

using Told = std::vector<std::string>;

}  // namespace

TEST_CASE("A device is given the next batch before the last is waited for") {
  Run run(5);
  run.draw();
  CHECK(run.generator.told == Told{"begin 0-1", "begin 2-3", "finish 0-1", "give 0-1", "begin 4-4", "finish 2-3",
                                   "give 2-3", "finish 4-4", "give 4-4"});
  CHECK(run.totals.samples == 5);
  CHECK(run.totals.tokens == 5);
}

TEST_CASE("What cannot be begun ahead is handed out before the next is drawn") {
  Run run(4);
  run.generator.goes_ahead = false;
  run.draw();
  CHECK(run.generator.told == Told{"draw 0-1", "give 0-1", "draw 2-3", "give 2-3"});
}

TEST_CASE("A batch that has no room is halved once the one before is handed out") {
  Run run(4);
  run.generator.fitting = 1;
  run.draw();
  CHECK(run.given.size() == 4);
  CHECK(run.totals.samples == 4);
  // Later ones are as small.
  CHECK(run.generator.told == Told{"begin 0-1", "begin 0-0", "begin 1-1", "finish 0-0", "give 0-0", "begin 2-2",
                                   "finish 1-1", "give 1-1", "begin 3-3", "finish 2-2", "give 2-2", "finish 3-3",
                                   "give 3-3"});
}

TEST_CASE("What was begun is handed out before an error of the next") {
  Run run(6);
  run.generator.failing_to_begin = "2-3";
  CHECK_THROWS_AS(run.draw(), Error);
  CHECK(run.generator.told == Told{"begin 0-1", "begin 2-3", "finish 0-1", "give 0-1"});
}

TEST_CASE("An error of a batch that was begun, or of a hook, is not taken for one of the next") {
  Run of_batch(6);
  of_batch.generator.failing_to_finish = "0-1";
  CHECK_THROWS_AS(of_batch.draw(), Error);
  CHECK(of_batch.given.empty());
  Run of_hook(6);
  of_hook.failing_hook = "0-1";
  CHECK_THROWS_AS(of_hook.draw(), std::bad_alloc);
  CHECK(of_hook.generator.told == Told{"begin 0-1", "begin 2-3", "finish 0-1", "give 0-1"});
}

TEST_CASE("A run that is to stop begins no batch, and hands out the last") {
  Run run(6);
  run.hooks.stops = [&] { return run.generator.told.size() >= 2; };
  run.draw();
  CHECK(run.generator.told == Told{"begin 0-1", "begin 2-3", "finish 0-1", "give 0-1", "finish 2-3", "give 2-3"});
}

}  // namespace lone_device_test

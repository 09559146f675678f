#include "engine/batching.h"

#include <algorithm>
#include <memory>
#include <new>
#include <set>
#include <utility>
#include <vector>

#include "core/error.h"
#include "tests/support/catch.h"

using namespace demask;

namespace {

// A prompt is as long as its text, those that begin with the same letter are of one kind, and its samples take as many
// rows as its seed says. Nothing is drawn.
class PlanningGenerator : public Generator {
 public:
  std::shared_ptr<const PreparedPrompt> prepare(const Prompt& given, bool /*quiet*/) override {
    auto prompt = std::make_shared<PreparedPrompt>();
    prompt->length = static_cast<int64_t>(given.start_text->size());
    prompt->generated = 1;
    prompt->batch_kind = given.start_text->front();
    prompt->rows = given.seed.value_or(1);
    return prompt;
  }
  std::vector<DrawnSample> draw(const std::vector<SampleTask>& /*tasks*/, Observer* /*observer*/) override {
    return {};
  }
  std::optional<int64_t> own_rows() const override { return bounded; }
  void try_step(const std::vector<SampleTask>& tasks) override {
    if (tasks.size() > fitting) {
      throw std::bad_alloc();
    }
  }
  int64_t forwards() const override { return 0; }
  std::unique_ptr<Generator> on_device(const Context& /*context*/) const override { return nullptr; }
  std::vector<std::pair<std::string, std::string>> describe(const PreparedPrompt& /*prompt*/) const override {
    return {};
  }

  size_t fitting = 1000;           // samples that there is memory for
  std::optional<int64_t> bounded;  // rows, where it says so itself
};

// Has so many outputs that memory has to be measured; computes nothing.
class WideModel : public LanguageModel {
 public:
  WideModel() { info_.output_size = 1000000; }
  const ModelInfo& info() const override { return info_; }
  at::Device device() const override { return at::kCPU; }
  at::Tensor logits(const at::Tensor& /*tokens*/) override { return {}; }

 private:
  ModelInfo info_;
};

// A run whose model is needed for nothing.
struct Run {
  Context context;
  mutable PlanningGenerator generator;

  Work work(const std::vector<std::pair<std::string, int64_t>>& texts_and_counts) const {
    PromptList list;
    list.name = "list.jsonl";
    for (const auto& [text, count] : texts_and_counts) {
      Prompt prompt;
      prompt.line = static_cast<int64_t>(list.prompts.size()) + 1;
      prompt.id = std::to_string(prompt.line);
      prompt.start_text = text;
      prompt.num_samples = count;
      list.prompts.push_back(prompt);
    }
    return {context, generator, list};
  }
};

std::vector<int64_t> indices_of(const std::vector<SampleTask>& batch) {
  std::vector<int64_t> indices;
  for (const SampleTask& task : batch) {
    indices.push_back(task.identity.index);
  }
  return indices;
}

bool nothing_done(int64_t /*index*/) {
  return false;
}

using Batches = std::vector<std::vector<int64_t>>;

// Runs `count` samples on a machine that has room for `fitting`, and keeps the batches that came through.
Batches run_with_room_for(size_t fitting, int64_t count, int64_t batch_size) {
  const Run run;
  const Work work = run.work({{"a", count}});
  BatchPlanner planner(work, run.generator, 0, count, nothing_done);
  Batches done;
  for_each_batch(
      planner, batch_size, at::kCPU,
      [&](const std::vector<SampleTask>& batch) {
        if (batch.size() > fitting) {
          throw std::bad_alloc();
        }
        done.push_back(indices_of(batch));
      },
      [] { return false; });
  return done;
}

}  // namespace

TEST_CASE("A run is cut into batches, the last one shorter") {
  CHECK(run_with_room_for(100, 8, 3) == Batches{{0, 1, 2}, {3, 4, 5}, {6, 7}});
}

TEST_CASE("Samples that take several rows of a batch fill it sooner, one that takes more than all has it to itself") {
  const Run run;
  PromptList list;
  for (const int64_t rows : {3, 3, 1, 1, 9, 2}) {
    Prompt prompt;
    prompt.start_text = std::string(list.prompts.size() + 1, 'a');
    prompt.num_samples = 1;
    prompt.seed = rows;
    list.prompts.push_back(prompt);
  }
  const Work work(run.context, run.generator, list);
  BatchPlanner planner(work, run.generator, 0, 6, nothing_done);
  CHECK(indices_of(planner.next(7)) == std::vector<int64_t>{0, 1, 2});
  CHECK(indices_of(planner.next(7)) == std::vector<int64_t>{3});
  CHECK(indices_of(planner.next(7)) == std::vector<int64_t>{4});
  CHECK(indices_of(planner.next(7)) == std::vector<int64_t>{5});
}

TEST_CASE("A batch that runs out of memory is halved and tried again, and every sample is drawn once") {
  CHECK(run_with_room_for(3, 10, 8) == Batches{{0, 1}, {2, 3}, {4, 5}, {6, 7}, {8, 9}});
  CHECK(run_with_room_for(1, 3, 3) == Batches{{0}, {1}, {2}});
}

TEST_CASE("While half of a batch waits that did not fit, the frontier stays below it") {
  const Run run;
  // Longer texts come last in a batch, which is then not in the order of the indices.
  const Work work = run.work({{"aaaa", 1}, {"aaa", 1}, {"aa", 1}, {"a", 1}});
  BatchPlanner planner(work, run.generator, 0, 4, nothing_done);
  std::vector<SampleTask> batch = planner.next(4);
  REQUIRE(indices_of(batch) == std::vector<int64_t>{3, 2, 1, 0});
  CHECK(planner.frontier() == 4);
  planner.put_back_halved(std::move(batch));
  CHECK(indices_of(planner.next(4)) == std::vector<int64_t>{3, 2});
  CHECK(planner.frontier() == 0);
  CHECK(indices_of(planner.next(4)) == std::vector<int64_t>{1, 0});
  CHECK(planner.frontier() == 4);
}

TEST_CASE("When not even one sample fits, the run fails and says so") {
  try {
    run_with_room_for(0, 4, 4);
    FAIL("did not fail");
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::failed);
    CHECK(std::string(error.what()).find("single sample") != std::string::npos);
  }
}

TEST_CASE("Devices share work in batches as large as leave none of them waiting in the end") {
  for (const int64_t room : {1, 5, 8, 100, 256}) {
    for (const int64_t devices : {2, 3, 8}) {
      for (const int64_t rows : {2, 9, 257, 300, 513, 100000}) {
        CAPTURE(room, devices, rows);
        const auto divided_up = [](int64_t number, int64_t by) { return (number + by - 1) / by; };
        const int64_t each = even_rows(rows, room, devices);
        CHECK(each >= 1);
        CHECK(each <= room);
        // As many turns as if every batch were full.
        CHECK(divided_up(divided_up(rows, each), devices) <= divided_up(rows, devices * room));
      }
    }
  }
  CHECK(even_rows(300, 256, 2) == 152);  // and not 256 and 44
}

TEST_CASE("Other errors are not retried, and a run that is to stop draws no further batch") {
  const Run run;
  const Work work = run.work({{"a", 8}});
  int calls = 0;
  BatchPlanner failing(work, run.generator, 0, 8, nothing_done);
  CHECK_THROWS_AS(for_each_batch(
                      failing, 4, at::kCPU,
                      [&](const std::vector<SampleTask>&) {
                        ++calls;
                        throw Error(ExitCode::failed, "broken");
                      },
                      [] { return false; }),
                  Error);
  CHECK(calls == 1);
  BatchPlanner stopped(work, run.generator, 0, 8, nothing_done);
  calls = 0;
  for_each_batch(
      stopped, 2, at::kCPU, [&](const std::vector<SampleTask>&) { ++calls; }, [&] { return calls == 2; });
  CHECK(calls == 2);
}

TEST_CASE("Mixed prompts make batches of one kind, near in length; each sample is in one, unless it is done") {
  const Run run;
  std::vector<std::pair<std::string, int64_t>> prompts;
  for (int k = 0; k < 60; ++k) {
    prompts.emplace_back(std::string(static_cast<size_t>(1 + k * 7 % 50), k % 3 == 0 ? 'a' : 'b'), 1 + k % 4);
  }
  const Work work = run.work(prompts);
  const auto is_done = [](int64_t index) { return index % 10 == 3; };
  BatchPlanner planner(work, run.generator, 5, work.end() - 5, is_done);
  std::set<int64_t> seen;
  int64_t differing = 0, batches = 0;
  for (std::vector<SampleTask> batch = planner.next(4); !batch.empty(); batch = planner.next(4)) {
    CHECK(batch.size() <= 4);
    for (const SampleTask& task : batch) {
      CHECK(seen.insert(task.identity.index).second);
      CHECK(task.prompt->batch_kind == batch[0].prompt->batch_kind);
      CHECK(task.prompt->length == static_cast<int64_t>(work.entry_of(task.identity.index).prompt.start_text->size()));
    }
    differing += batch.back().prompt->length - batch.front().prompt->length;
    ++batches;
    // Whatever is below the frontier is done or was handed out.
    for (int64_t index = 5; index < planner.frontier(); ++index) {
      CHECK((is_done(index) || seen.count(index) == 1));
    }
  }
  for (int64_t index = 5; index < work.end() - 5; ++index) {
    CHECK(seen.count(index) == (is_done(index) ? 0 : 1));
  }
  CHECK(planner.frontier() == work.end() - 5);
  CHECK(differing < 10 * batches);  // lengths are spread over 50
}

TEST_CASE("Where forwards are the generator's own, the first batch waits for no other text to be looked at") {
  std::vector<std::pair<std::string, int64_t>> shorter_and_shorter;
  for (size_t length = 8; length > 0; --length) {
    shorter_and_shorter.emplace_back(std::string(length, 'a'), 1);
  }
  Run run;
  const Work work = run.work(shorter_and_shorter);
  CHECK(indices_of(BatchPlanner(work, run.generator, 0, 8, nothing_done).next(2)) == std::vector<int64_t>{7, 6});
  run.generator.bounded = 2;
  BatchPlanner planner(work, run.generator, 0, 8, nothing_done);
  CHECK(indices_of(planner.next(2)) == std::vector<int64_t>{1, 0});
  CHECK(indices_of(planner.next(2)) == std::vector<int64_t>{7, 6});
}

TEST_CASE("A sample's stream is the run's with its index, or its prompt's own counted from 0") {
  Run run;
  run.context.config.seed = 1337;
  PromptList list;
  for (int64_t k = 0; k < 3; ++k) {
    Prompt prompt;
    prompt.id = std::to_string(k);
    prompt.start_text = "a";
    prompt.num_samples = 2;
    list.prompts.push_back(prompt);
  }
  list.prompts[1].seed = 7;
  const Work work(run.context, run.generator, list);
  const auto check = [&work](int64_t index, const std::string& prompt, int64_t number, uint64_t seed,
                             int64_t in_stream) {
    const SampleTask task = work.task_of(index);
    CHECK(task.identity.index == index);
    CHECK(task.identity.prompt_id == prompt);
    CHECK(task.identity.number == number);
    CHECK(task.identity.seed == seed);
    CHECK(task.stream.seed == seed);
    CHECK(task.stream.index == in_stream);
  };
  check(1, "0", 1, 1337, 1);
  check(3, "1", 1, 7, 1);
  check(4, "2", 0, 1337, 4);
}

TEST_CASE("Where memory runs out while it is measured, fewer samples are drawn at once") {
  Run run;
  // Texts so long that their logits might not fit.
  run.context.model = std::make_unique<WideModel>();
  const Work work = run.work({{std::string(100000, 'a'), 100}});
  run.generator.fitting = 3;
  CHECK(choose_batch_size(run.context, run.generator, work, 100) == 2);
  run.generator.fitting = 0;
  CHECK(choose_batch_size(run.context, run.generator, work, 100) == 2);
}

TEST_CASE(
    "A generator that bounds what it computes is not tried, and its batches are as it says unless a size is asked "
    "for") {
  Run run;
  run.context.model = std::make_unique<WideModel>();
  const Work work = run.work({{std::string(100000, 'a'), 1000}});
  run.generator.fitting = 0;
  run.generator.bounded = 600;
  CHECK(choose_batch_size(run.context, run.generator, work, 1000) == 600);
  CHECK(choose_batch_size(run.context, run.generator, work, 20) == 20);
  run.context.config.batch_size = 3;
  CHECK(choose_batch_size(run.context, run.generator, work, 1000) == 3);
}

TEST_CASE("A requested batch size is kept, but is never more than there are samples") {
  Run run;
  run.context.config.batch_size = 3;
  const Work work = run.work({{"a", 8}});
  CHECK(choose_batch_size(run.context, run.generator, work, 8) == 3);
  run.context.config.batch_size = 100;
  CHECK(choose_batch_size(run.context, run.generator, work, 8) == 8);
}

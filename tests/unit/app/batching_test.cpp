#include "app/batching.h"

#include <algorithm>
#include <new>
#include <set>
#include <utility>
#include <vector>

#include "core/error.h"
#include "tests/support/catch.h"

using namespace demask;

namespace {

// A run without a model: a prompt is as long as its text, and those that begin with the same letter are of one kind.
struct Run {
  Session session;
  Method method;

  Run() {
    static const std::string name = "list.jsonl";
    session.config.prompts = name;
    method.prepare = [](const WorkItem& item, bool /*quiet*/) {
      auto prompt = std::make_shared<PreparedPrompt>();
      prompt->length = static_cast<int64_t>(item.start_text->size());
      prompt->generated = 1;
      prompt->batch_kind = item.start_text->front();
      return prompt;
    };
    method.try_step = [](const std::vector<Request>&) {};
  }

  Work work(const std::vector<std::pair<std::string, int64_t>>& texts_and_counts) const {
    WorkList list;
    for (const auto& [text, count] : texts_and_counts) {
      WorkItem item;
      item.line = static_cast<int64_t>(list.items.size()) + 1;
      item.id = std::to_string(item.line);
      item.start_text = text;
      item.num_samples = count;
      list.items.push_back(item);
    }
    return Work(session, method, list);
  }
};

std::vector<int64_t> indices_of(const PlannedBatch& batch) {
  std::vector<int64_t> indices;
  for (const PlannedSample& sample : batch) {
    indices.push_back(sample.index);
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
  BatchPlanner planner(work, run.method, 0, count, nothing_done);
  Batches done;
  for_each_batch(
      planner, batch_size, at::kCPU,
      [&](const PlannedBatch& batch) {
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

TEST_CASE("A batch that runs out of memory is halved and tried again, and every sample is drawn once") {
  CHECK(run_with_room_for(3, 10, 8) == Batches{{0, 1}, {2, 3}, {4, 5}, {6, 7}, {8, 9}});
  CHECK(run_with_room_for(1, 3, 3) == Batches{{0}, {1}, {2}});
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

TEST_CASE("Other errors are not retried, and a run that is to stop draws no further batch") {
  const Run run;
  const Work work = run.work({{"a", 8}});
  int calls = 0;
  BatchPlanner failing(work, run.method, 0, 8, nothing_done);
  CHECK_THROWS_AS(for_each_batch(
                      failing, 4, at::kCPU,
                      [&](const PlannedBatch&) {
                        ++calls;
                        throw Error(ExitCode::failed, "broken");
                      },
                      [] { return false; }),
                  Error);
  CHECK(calls == 1);
  BatchPlanner stopped(work, run.method, 0, 8, nothing_done);
  calls = 0;
  for_each_batch(
      stopped, 2, at::kCPU, [&](const PlannedBatch&) { ++calls; }, [&] { return calls == 2; });
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
  BatchPlanner planner(work, run.method, 5, work.end() - 5, is_done);
  std::set<int64_t> seen;
  int64_t differing = 0, batches = 0;
  for (PlannedBatch batch = planner.next(4); !batch.empty(); batch = planner.next(4)) {
    CHECK(batch.size() <= 4);
    for (const PlannedSample& sample : batch) {
      CHECK(seen.insert(sample.index).second);
      CHECK(sample.request.prompt->batch_kind == batch[0].request.prompt->batch_kind);
      CHECK(sample.request.prompt->length == static_cast<int64_t>(work.entry_of(sample.index).item.start_text->size()));
    }
    differing += batch.back().request.prompt->length - batch.front().request.prompt->length;
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

TEST_CASE("A sample's stream is the run's with its index, or its prompt's own counted from 0") {
  Run run;
  run.session.config.seed = 1337;
  WorkList list;
  for (int64_t k = 0; k < 3; ++k) {
    WorkItem item;
    item.line = k + 1;
    item.id = std::to_string(k);
    item.start_text = "a";
    item.num_samples = 2;
    list.items.push_back(item);
  }
  list.items[1].seed = 7;
  const Work work(run.session, run.method, list);
  CHECK(work.stream_of(1).seed == 1337);
  CHECK(work.stream_of(1).index == 1);
  CHECK(work.stream_of(3).seed == 7);
  CHECK(work.stream_of(3).index == 1);
  CHECK(work.stream_of(4).seed == 1337);
  CHECK(work.stream_of(4).index == 4);
}

TEST_CASE("A requested batch size is kept, but is never more than there are samples") {
  Run run;
  run.session.config.batch_size = 3;
  const Work work = run.work({{"a", 8}});
  CHECK(choose_batch_size(run.session, run.method, work, 8) == 3);
  run.session.config.batch_size = 100;
  CHECK(choose_batch_size(run.session, run.method, work, 8) == 8);
}

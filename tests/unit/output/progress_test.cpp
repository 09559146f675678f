#include "output/progress.h"

#include "tests/support/catch.h"
#include "tests/unit/output/batches.h"
#include "tests/unit/output/memory_stream.h"

namespace demask {
namespace {

using testing::MemoryStream;

StepView step_of(int64_t step, int64_t steps, int64_t masked_before = 0, int64_t positions = 0) {
  StepView view;
  view.step = step;
  view.steps = steps;
  view.masked_before = masked_before;
  view.positions = positions;
  return view;
}

ProgressOptions options_of(bool terminal, bool diffusion, std::optional<int64_t> total_samples) {
  ProgressOptions options;
  options.terminal = terminal;
  options.diffusion = diffusion;
  options.total_samples = total_samples;
  return options;
}

TEST_CASE("in a pipe each iteration is a line with what was masked when it began") {
  const MemoryStream stream;
  Progress progress(stream.get(), options_of(false, true, 4));
  progress.on_batch(demask::testing::batch_of({0, 1, 2, 3}, 50, 2048));
  progress.on_step(step_of(0, 50, 2048, 2048));
  progress.on_step(step_of(2, 50, 892, 2048));
  progress.on_batch_done();
  CHECK(stream.text() ==
        "Iteration 1/50: 2048/2048 tokens masked (100.0%)\n"
        "Iteration 3/50: 892/2048 tokens masked (43.6%)\n");
}

TEST_CASE("where nobody knows how many iterations there will be, none is promised") {
  const MemoryStream stream;
  Progress progress(stream.get(), options_of(false, true, 1));
  progress.on_batch(demask::testing::batch_of({0}, 0, 8));
  progress.on_step(step_of(0, 0, 8, 8));
  progress.on_step(step_of(1, 0, 2, 8));
  progress.on_batch_done();
  CHECK(stream.text() ==
        "Iteration 1: 8/8 tokens masked (100.0%)\n"
        "Iteration 2: 2/8 tokens masked (25.0%)\n");
}

TEST_CASE("the time left follows the filled share where the number of iterations is not known") {
  const MemoryStream stream;
  ProgressOptions options = options_of(true, true, 1);
  int64_t seconds = 0;
  options.now = [&seconds] { return std::chrono::steady_clock::time_point(std::chrono::seconds(seconds)); };
  Progress progress(stream.get(), options);
  progress.on_batch(demask::testing::batch_of({0}, 0, 8));
  StepView view = step_of(0, 0, 8, 8);
  view.masked_after = 6;  // a quarter done in 10 s, so three quarters left in 30
  seconds = 10;
  progress.on_step(view);
  CHECK(stream.text().find("0:30 left") != std::string::npos);
}

TEST_CASE("batches that another device completes meanwhile count in what is done, in the rate and in the time left") {
  const MemoryStream stream;
  ProgressOptions options = options_of(true, true, 6);
  int64_t seconds = 0;
  options.now = [&seconds] { return std::chrono::steady_clock::time_point(std::chrono::seconds(seconds)); };
  Progress progress(stream.get(), options);
  progress.on_batch(demask::testing::batch_of({0, 1}, 2, 80));
  progress.on_other_batch_done(2, 80);
  seconds = 10;  // in which one batch and half of another were drawn: 3 samples of 6, 120 tokens
  progress.on_step(step_of(0, 2, 80, 80));
  CHECK(stream.text().find("12 tokens/s, 0:10 left, samples 3-4 of 6") != std::string::npos);
}

TEST_CASE("in a pipe several batches are told apart, and one that is tried again in halves counts once") {
  const MemoryStream stream;
  Progress progress(stream.get(), options_of(false, true, 3));
  progress.on_batch(demask::testing::batch_of({5, 6, 7}, 1, 24));
  for (const std::vector<int64_t>& indices : {std::vector<int64_t>{5, 6}, {7}}) {
    const auto batch = static_cast<int64_t>(indices.size());
    progress.on_batch(demask::testing::batch_of(indices, 1, 8 * batch));
    progress.on_step(step_of(0, 1, 8 * batch, 8 * batch));
    progress.on_batch_done();
  }
  CHECK(stream.text() ==
        "Samples 1-2 of 3\nIteration 1/1: 16/16 tokens masked (100.0%)\n"
        "Samples 3-3 of 3\nIteration 1/1: 8/8 tokens masked (100.0%)\n");
}

TEST_CASE("where nobody knows how many samples there will be, nothing is said of them or of the time left") {
  const MemoryStream lines;
  Progress piped(lines.get(), options_of(false, true, {}));
  piped.on_batch(demask::testing::batch_of({0, 1}, 2, 16));
  piped.on_batch_done();
  CHECK(lines.text() == "Samples 1-2\n");
  const MemoryStream line;
  ProgressOptions options = options_of(true, true, {});
  int64_t seconds = 0;
  options.now = [&seconds] { return std::chrono::steady_clock::time_point(std::chrono::seconds(seconds)); };
  Progress drawn(line.get(), options);
  drawn.on_batch(demask::testing::batch_of({0, 1}, 2, 16));
  seconds = 1;
  drawn.on_step(step_of(0, 2, 16, 16));
  CHECK(line.text() == "\rIteration 1/2: 100.0% masked, 8 tokens/s, samples 1-2\x1b[K");
}

TEST_CASE("in a pipe standard sampling shows ten lines however many tokens there are") {
  const MemoryStream stream;
  Progress progress(stream.get(), options_of(false, false, 1));
  progress.on_batch(demask::testing::batch_of({0}, 30, 30));
  for (int64_t step = 0; step < 30; ++step) {
    progress.on_step(step_of(step, 30));
  }
  CHECK(stream.text() ==
        "Token 3/30\nToken 6/30\nToken 9/30\nToken 12/30\nToken 15/30\n"
        "Token 18/30\nToken 21/30\nToken 24/30\nToken 27/30\nToken 30/30\n");
}

TEST_CASE("scoring shows forwards of texts") {
  const MemoryStream stream;
  ProgressOptions options = options_of(false, true, 3);
  options.scoring = true;
  Progress progress(stream.get(), options);
  progress.on_batch(demask::testing::batch_of({0, 1}, 0, 30));
  progress.on_step(step_of(0, 2));
  progress.on_step(step_of(1, 2));
  progress.on_batch_done();
  CHECK(stream.text() == "Texts 1-2 of 3\nForward 1/2\nForward 2/2\n");
}

TEST_CASE("a terminal shows share, rate, time left and the batch in one line, ended with the batch") {
  const MemoryStream stream;
  std::chrono::steady_clock::time_point now;
  ProgressOptions options = options_of(true, true, 8);
  options.now = [&now] { return now; };
  Progress progress(stream.get(), options);
  progress.on_batch(demask::testing::batch_of({0, 1, 2, 3}, 2, 2048));
  now += std::chrono::seconds(20);
  progress.on_step(step_of(0, 2, 2048, 2048));  // 2 of 8 samples' work in 20 s: 6 are left
  now += std::chrono::seconds(20);
  progress.on_step(step_of(1, 2, 1024, 2048));
  CHECK(stream.text() ==
        "\rIteration 1/2: 100.0% masked, 51 tokens/s, 1:00 left, samples 1-4 of 8\x1b[K"
        "\rIteration 2/2: 50.0% masked, 51 tokens/s, 0:40 left, samples 1-4 of 8\x1b[K");
  progress.on_batch_done();
  CHECK(stream.text().back() == '\n');
}

TEST_CASE("a terminal is redrawn at most twenty times a second, and for the last step") {
  const MemoryStream stream;
  std::chrono::steady_clock::time_point now;
  ProgressOptions options = options_of(true, false, 1);
  options.now = [&now] { return now; };
  {
    Progress progress(stream.get(), options);
    progress.on_batch(demask::testing::batch_of({0}, 100, 100));
    for (int64_t step = 0; step < 100; ++step) {
      now += std::chrono::milliseconds(1);
      progress.on_step(step_of(step, 100));
    }
  }
  CHECK(stream.text() ==
        "\rToken 1/100, 1000 tokens/s, 0:00 left\x1b[K"
        "\rToken 51/100, 1000 tokens/s, 0:00 left\x1b[K"
        "\rToken 100/100, 1000 tokens/s, 0:00 left\x1b[K\n");
}

}  // namespace
}  // namespace demask

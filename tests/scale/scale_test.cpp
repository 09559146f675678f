// Many machines, long runs: shards, runs that are killed and gone on with.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/scale/runs.h"
#include "tests/support/checkpoint_files.h"

using namespace demask::testing;
using nlohmann::json;

namespace {

// The file that an undisturbed run writes.
std::string undisturbed(const Arguments& arguments) {
  const TemporaryFolder folder;
  run_done(join(arguments, {"--output=" + (folder / "samples.jsonl")}));
  return read_file(folder / "samples.jsonl");
}

std::vector<std::pair<std::string, std::string>> torchrun(int index, int count) {
  return {{"RANK", std::to_string(index)}, {"WORLD_SIZE", std::to_string(count)}, {"LOCAL_RANK", "0"}};
}

std::vector<std::pair<std::string, std::string>> slurm(int index, int count) {
  return {{"SLURM_PROCID", std::to_string(index)}, {"SLURM_NTASKS", std::to_string(count)}, {"SLURM_LOCALID", "0"}};
}

void check_merged(const TemporaryFolder& folder, const std::string& expected) {
  run_done({"--merge=" + (folder / "part-*.jsonl"), "--output=" + (folder / "merged.jsonl")});
  CHECK(read_file(folder / "merged.jsonl") == expected);
}

}  // namespace

TEST_CASE("A run that is killed at any moment and resumed until it is done writes the bytes of one undisturbed") {
  // DEMASK_KILLED_RUNS raises the number; 200 were run when this was written.
  const char* const asked = std::getenv("DEMASK_KILLED_RUNS");
  const int runs = asked != nullptr ? std::atoi(asked) : sanitized ? 2 : 4;
  const TemporaryFolder folder;
  write_file(folder / "prompts.jsonl", mixed_prompts);
  // Of some batches after the first line, each of several forwards.
  const std::vector<Arguments> jobs = {join(small_run, {"--diffusion_iterations=12"}),
                                       join({"--device=cpu", "--dtype=float32", "--sequence_length=48",
                                             "--diffusion_iterations=12", "--batch_size=3", "--show_progress=False"},
                                            {"--prompts=" + (folder / "prompts.jsonl")})};
  std::vector<std::string> expected;
  std::vector<double> times_s;
  for (size_t job = 0; job < jobs.size(); ++job) {
    const std::string output = folder / ("undisturbed-" + std::to_string(job) + ".jsonl");
    times_s.push_back(run_done(join(jobs[job], {"--output=" + output})).elapsed_s);
    expected.push_back(read_file(output));
  }
  std::mt19937 random(1337);
  std::uniform_real_distribution<double> share(0.3, 1.0);
  int killed_while_drawing = 0;
  for (int run = 0; run < runs; ++run) {
    const size_t job = static_cast<size_t>(run) % jobs.size();
    const std::string output = folder / ("run-" + std::to_string(run) + ".jsonl");
    for (int attempt = 0;; ++attempt) {
      REQUIRE(attempt < 100);
      // First when a line is there, which comes in every run however fast the machine is; then at moments of which some
      // are too late; then not, so that it ends.
      ProcessOptions killed;
      killed.signal = SIGKILL;
      killed.interrupt_on_file = attempt == 0 ? output : "";
      killed.interrupt_after_s = attempt == 1 || attempt == 2 ? share(random) * times_s[job] : 0;
      const ProcessResult result =
          demask::testing::demask(join(jobs[job], {"--output=" + output, "--resume=True"}), killed);
      CAPTURE(run, attempt, result.err);
      if (result.exit_code == done) {
        break;
      }
      REQUIRE(result.exit_code == 128 + SIGKILL);
      killed_while_drawing += attempt == 0 ? 1 : 0;
    }
    CHECK(read_file(output) == expected[job]);
    CHECK_FALSE(std::filesystem::exists(output + ".pending"));
  }
  CHECK(killed_while_drawing > runs / 2);
}

TEST_CASE("Resuming a complete run changes nothing, and says so") {
  const TemporaryFolder folder;
  const Arguments job = join(small_run, {"--output=" + (folder / "samples.jsonl"), "--resume=True"});
  run_done(job);
  const std::string before = read_file(folder / "samples.jsonl");
  const ProcessResult again = run_done(job);
  CHECK(contains(again.err, "23 of 23 samples are in"));
  CHECK(read_file(folder / "samples.jsonl") == before);
}

TEST_CASE("A run is not resumed with another model, vocabulary, prompt or setting: the message names the key") {
  const TemporaryFolder folder;
  const std::string output = folder / "samples.jsonl";
  run_done(join(small_run, {"--output=" + output}));
  const std::string before = read_file(output);
  std::filesystem::copy_file(DEMASK_SOURCE_DIR "/data/char_diffusion/meta.pkl", folder / "meta.pkl");
  for (const auto& [argument, key] : std::vector<std::pair<std::string, std::string>>{
           {"--checkpoint_name=" + exported_diffusion, "checkpoint_sha256"},
           {"--temperature=0.7", "temperature is 0.8"},
           {"--seed=7", "seed is 1337"},
           {"--num_samples=24", "samples is 23"},
           {"--start_text=ROMEO", "start_text"},
           {"--dtype=bfloat16", "dtype is \"float32\""}}) {
    const ProcessResult result =
        demask::testing::demask(join(small_run, {"--output=" + output, "--resume=True", argument}));
    CAPTURE(argument, result.err);
    CHECK(result.exit_code == bad_usage);
    CHECK(contains(result.err, output));
    CHECK(contains(result.err, key));
    CHECK(read_file(output) == before);
  }
  // The same files elsewhere are the same.
  run_done(join(small_run, {"--output=" + output, "--resume=True", "--meta_path=" + (folder / "meta.pkl")}));
}

TEST_CASE("Shards of a run, under any launcher, merge to the bytes of a single process") {
  const TemporaryFolder folder;
  write_file(folder / "prompts.jsonl", mixed_prompts);
  const Arguments job = {"--device=cpu",
                         "--dtype=float32",
                         "--sequence_length=48",
                         "--diffusion_iterations=4",
                         "--shard=auto",
                         "--show_progress=False",
                         "--prompts=" + (folder / "prompts.jsonl")};
  Arguments whole = job;
  whole.erase(std::find(whole.begin(), whole.end(), "--shard=auto"));
  const std::string expected = undisturbed(whole);
  for (const int count : sanitized ? std::vector<int>{3} : std::vector<int>{3, 8}) {
    const auto launcher = count % 2 == 0 ? slurm : torchrun;
    {
      const TemporaryFolder parts;
      std::vector<std::thread> processes;
      std::vector<ProcessResult> results(static_cast<size_t>(count));
      for (int index = 0; index < count; ++index) {
        processes.emplace_back([&, index] {
          ProcessOptions options;
          options.environment = launcher(index, count);
          options.environment.emplace_back("OMP_NUM_THREADS", "1");
          results[static_cast<size_t>(index)] =
              demask::testing::demask(join(job, {"--output=" + (parts / "part-{shard}.jsonl")}), options);
        });
      }
      for (std::thread& process : processes) {
        process.join();
      }
      for (const ProcessResult& result : results) {
        CAPTURE(count, result.err);
        REQUIRE(result.exit_code == done);
      }
      check_merged(parts, expected);
    }
  }
}

TEST_CASE("A shard that is killed and resumed does not change what the shards merge to") {
  const std::string expected = undisturbed(small_run);
  const TemporaryFolder parts;
  const auto shard = [&](int index) {
    return join(small_run, {"--output=" + (parts / "part-{shard}.jsonl"), "--resume=True",
                            "--shard=" + std::to_string(index) + "/3"});
  };
  run_done(shard(0));
  run_done(shard(2));
  ProcessOptions killed;
  killed.signal = SIGKILL;
  killed.interrupt_on_stderr = "Samples 5-8 of 8";
  CHECK(demask::testing::demask(join(shard(1), {"--show_progress=True"}), killed).exit_code == 128 + SIGKILL);
  const ProcessResult early =
      demask::testing::demask({"--merge=" + (parts / "part-*.jsonl"), "--output=" + (parts / "merged.jsonl")});
  CHECK(early.exit_code == bad_input);
  CHECK(contains(early.err, "part-1.jsonl"));
  CHECK(contains(early.err, "--resume=True"));
  CHECK_FALSE(std::filesystem::exists(parts / "merged.jsonl"));
  run_done(shard(1));
  check_merged(parts, expected);
}

TEST_CASE("A shard that cannot be is refused: out of range, of no launcher, into one file, with a seed of its own") {
  const TemporaryFolder folder;
  const std::string named = "--output=" + (folder / "{shard}.jsonl");
  const auto refused = [&](const Arguments& arguments, const std::string& part) {
    const ProcessResult result = demask::testing::demask(join(small_run, arguments));
    CAPTURE(arguments, result.err);
    CHECK(result.exit_code == bad_usage);
    CHECK(contains(result.err, part));
    CHECK(names_in(folder.path()).empty());
  };
  refused({named, "--shard=3/3"}, "the last of 3 is 2/3");
  refused({named, "--shard=one"}, "--shard=one");
  refused({named, "--shard=auto"}, "SLURM_PROCID");
  refused({"--output=" + (folder / "samples.jsonl"), "--shard=0/2"}, "{shard}");
  refused({named, "--shard=0/2", "--seed=-1"}, "seed=-1");
  refused({"--output=" + (folder / "samples.txt"), "--resume=True"}, ".jsonl");
  refused({"--merge=" + (folder / "*.jsonl")}, "--output");
}

TEST_CASE("A file that another run is writing is refused and stays as it is") {
  const TemporaryFolder folder;
  const std::string output = folder / "samples.jsonl";
  write_file(output, "another run's\n");
  const int descriptor = ::open(output.c_str(), O_RDWR | O_CLOEXEC);
  REQUIRE(::flock(descriptor, LOCK_EX) == 0);
  for (const Arguments& more : {Arguments{}, Arguments{"--resume=True"}}) {
    const ProcessResult result = demask::testing::demask(join(join(small_run, {"--output=" + output}), more));
    CHECK(result.exit_code == failed);
    CHECK(contains(result.err, "another demask run"));
    CHECK(read_file(output) == "another run's\n");
  }
  ::close(descriptor);
}

TEST_CASE("The first line says what made the samples") {
  const TemporaryFolder folder;
  run_done(join(small_run, {"--output=" + (folder / "samples.jsonl"), "--temperature=0.7"}));
  const json header = read_header(folder / "samples.jsonl");
  const auto sha256 = [](const std::string& path) {
    return run_process({"/usr/bin/sha256sum", DEMASK_SOURCE_DIR + path}).out.substr(0, 64);
  };
  CHECK(header.contains("demask"));
  CHECK(header["checkpoint"] == "out/diffusion.pt");
  CHECK(header["checkpoint_sha256"] == sha256("/out/diffusion.pt"));
  CHECK(header["vocabulary_sha256"] == sha256("/data/char_diffusion/meta.pkl"));
  CHECK(header["seed"] == 1337);
  CHECK(header["samples"] == 23);
  CHECK(header["dtype"] == "float32");
  CHECK(header["settings"]["temperature"] == 0.7);
  CHECK(header["settings"]["diffusion_iterations"] == 3);
}

TEST_CASE("Two hundred thousand samples are drawn in memory that stays flat") {
  if (sanitized) {
    return;  // which keeps freed memory
  }
  const TemporaryFolder folder;
  tiny_checkpoint().write(folder / "tiny.pt");
  write_file(folder / "meta.json", R"({"itos": ["a", "b"]})");
  // The process tells its own memory as it goes: at the first tenth and the last.
  const std::string command =
      in_shell({"--device=cpu", "--checkpoint_name=" + (folder / "tiny.pt"), "--meta_path=" + (folder / "meta.json"),
                "--num_samples=200000", "--sequence_length=4", "--diffusion_iterations=2", "--batch_size=250",
                "--show_progress=False", "--output=" + (folder / "samples.jsonl")}) +
      " > /dev/null & run=$!; while kill -0 $run 2>/dev/null; do"
      " lines=$(wc -l < '" +
      (folder / "samples.jsonl") +
      "' 2>/dev/null); "
      " memory=$(awk '/VmRSS/ {print $2}' /proc/$run/status 2>/dev/null); echo \"${lines:-0} ${memory:-0}\"; sleep "
      "0.02;"
      " done; wait $run";
  ProcessOptions options;
  options.directory = DEMASK_SOURCE_DIR;
  const ProcessResult result = run_process({"/bin/sh", "-c", command}, options);
  CAPTURE(result.err);
  REQUIRE(result.exit_code == done);
  CHECK(read_file(folder / "samples.jsonl").size() > 200000U * 50);
  std::istringstream seen(result.out);
  double first = 0, last = 0;
  for (int64_t lines = 0, kib = 0; seen >> lines >> kib;) {
    if (lines > 4000 && lines <= 20000) {
      first = std::max(first, static_cast<double>(kib));
    } else if (lines > 180000 && lines < 200000 && kib > 0) {
      last = std::max(last, static_cast<double>(kib));
    }
  }
  CAPTURE(first, last);
  REQUIRE(first > 0);
  REQUIRE(last > 0);
  CHECK(last < 1.05 * first);
}

// What goes wrong while running: numbers, disks, memory, signals, readers that leave.
#include <csignal>
#include <string>
#include <vector>

#include "tests/cli/refusal.h"
#include "tests/support/checkpoint_files.h"
#include "tests/support/sanitized.h"

using namespace demask::testing;

namespace {

// AddressSanitizer reserves terabytes of address space, so it cannot be limited.
constexpr bool address_space_can_be_limited = !sanitized;

const std::vector<std::string> endless = {"--num_samples=1000", "--batch_size=1", "--sequence_length=64",
                                          "--diffusion_iterations=4", "--show_progress=True"};

std::vector<std::string> with(std::vector<std::string> arguments, const std::vector<std::string>& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

ProcessOptions interrupted_at(const std::string& text_on_stderr, int signal_number = SIGINT) {
  ProcessOptions options;
  options.interrupt_on_stderr = text_on_stderr;
  options.signal = signal_number;
  return options;
}

}  // namespace

TEST_CASE("Non-finite logits end the run by either method, with the checkpoint's name") {
  const TemporaryFolder folder;
  CheckpointFile file = tiny_checkpoint();
  overflow_head(file);
  const std::string path = folder / "huge.pt";
  file.write(path);
  write_file(folder / "meta.json", R"({"itos": ["a", "b"]})");
  for (const std::string method : {"diffusion", "standard"}) {
    const std::vector<std::string> run = {"--sampling_method=" + method, "--checkpoint_name=" + path,
                                          "--meta_path=" + (folder / "meta.json"), "--sequence_length=4",
                                          "--max_new_tokens=3"};
    check_refused(with(run, {"--dtype=bfloat16"}), failed, {path, "non-finite", "--dtype=float32"});
    // Where that has been done already it is no advice.
    check_refused(with(run, {"--dtype=float32"}), failed, {path, "non-finite", "weights", "check cfg_scale"});
  }
}

TEST_CASE("An output that cannot be written is named with the reason") {
  const TemporaryFolder folder;
  write_file(folder / "file", "");
  check_refused({"--output=/absent/folder/samples.txt"}, failed,
                {"/absent/folder/samples.txt", "No such file or directory"});
  check_refused({"--output=" + (folder / "file/samples.jsonl")}, failed,
                {folder / "file/samples.jsonl", "Not a directory"});
  check_refused({"--output=" + folder.path()}, failed, {folder.path(), "folder"});
  CHECK(names_in(folder.path()) == std::vector<std::string>{"file"});
}

TEST_CASE("A full disk ends the run") {
  const ProcessResult result = demask::testing::demask(quick({"--output=/dev/full"}));
  CHECK(result.exit_code == failed);
  CHECK(contains(result.err, "'/dev/full'"));
  CHECK(contains(result.err, "No space left on device"));
  ProcessOptions full;
  full.stdout_path = "/dev/full";
  check_refused({}, failed, {"standard output", "No space left on device"}, full);
}

TEST_CASE("Nothing that a run reads is overwritten by what it writes, under whatever name") {
  const TemporaryFolder folder;
  const std::string model = folder / "model.pt", meta = folder / "meta.pkl", text = folder / "text.txt",
                    config = folder / "config.py", linked = folder / "linked";
  std::filesystem::copy_file(DEMASK_SOURCE_DIR "/out/diffusion.pt", model);
  std::filesystem::copy_file(DEMASK_SOURCE_DIR "/data/char_diffusion/meta.pkl", meta);
  write_file(text, "ab");
  write_file(config, "# nothing\n");
  std::filesystem::create_symlink(model, linked);
  // Each input once and each key once at least: all keys are compared with the same inputs.
  for (const auto& [key, input] : std::vector<std::pair<std::string, std::string>>{
           {"output", model}, {"trace", meta}, {"report", text}, {"output", config}, {"trace", linked}}) {
    const std::string before = read_file(input);
    check_refused({config, "--checkpoint_name=" + model, "--meta_path=" + meta, "--start_text=FILE:" + text,
                   "--" + key + "=" + input},
                  bad_usage, {key + "='" + input + "'", "overwritten"});
    CHECK(read_file(input) == before);
  }
  const std::string list = folder / "list.txt";
  write_file(list, "ROMEO:\n");
  check_refused({"--prompts=" + list, "--output=" + list}, bad_usage, {"output='" + list + "'", "overwritten"});
  CHECK(read_file(list) == "ROMEO:\n");
}

TEST_CASE("Two outputs of a run are never one file, under whatever names") {
  const TemporaryFolder folder;
  write_file(folder / "one.json", "older");
  std::filesystem::create_symlink(folder / "one.json", folder / "two.html");
  check_refused({"--trace=" + (folder / "one.json"), "--report=" + (folder / "two.html")}, bad_usage,
                {"trace=", "report=", "one file"});
  CHECK(read_file(folder / "one.json") == "older");
}

TEST_CASE("SIGINT and SIGTERM let the batch in flight be finished and written, and say how to go on") {
  for (const auto& [signal_number, code] : {std::pair(SIGINT, was_interrupted), std::pair(SIGTERM, was_terminated)}) {
    const TemporaryFolder folder;
    const std::string output = folder / "samples.jsonl";
    const std::vector<std::string> settings =
        quick({"--num_samples=40", "--batch_size=2", "--sequence_length=64", "--diffusion_iterations=4",
               "--show_progress=True", "--output=" + output});
    const ProcessResult result = demask::testing::demask(settings, interrupted_at("Samples 3-4 of 40", signal_number));
    CAPTURE(result.err);
    CHECK(result.exit_code == code);
    CHECK(contains(result.err, "stopping after the batch in flight"));
    CHECK(contains(result.err, "--resume=True"));
    const auto samples = read_json_lines(output);  // throws where a line is not whole
    CHECK(samples.size() % 2 == 0);
    CHECK(samples.size() >= 4);
    CHECK(samples.size() < 40);
    CHECK(contains(result.err, "interrupted after " + std::to_string(samples.size()) + " of 40 samples"));
    CHECK(contains(result.out, "SAMPLE " + std::to_string(samples.size()) + "/40"));
    CHECK(names_in(folder.path()) == std::vector<std::string>{"samples.jsonl"});
  }
}

TEST_CASE("A batch that would take long after SIGTERM is given up, and drawn again by resuming") {
  const TemporaryFolder folder;
  const std::string output = folder / "samples.jsonl";
  // A batch takes minutes.
  const std::vector<std::string> endless_batch =
      quick({"--diffusion_iterations=500000", "--sequence_length=64", "--show_progress=True", "--output=" + output});
  const ProcessResult result = demask::testing::demask(endless_batch, interrupted_at("Iteration 2/500000", SIGTERM));
  CAPTURE(result.err);
  CHECK(result.exit_code == was_terminated);
  CHECK(contains(result.err, "giving it up in 3 seconds"));
  CHECK(contains(result.err, "the batch in flight would have taken longer and was given up"));
  CHECK(contains(result.err, "interrupted after 0 of 1 samples"));
  CHECK(read_json_lines(output).empty());
  CHECK(result.elapsed_s < 120);
}

TEST_CASE("An interrupted run leaves the older text file as it was") {
  const TemporaryFolder folder;
  write_file(folder / "samples.txt", "older");
  const ProcessResult result = demask::testing::demask(quick(with(endless, {"--output=" + (folder / "samples.txt")})),
                                                       interrupted_at("Samples 3-3 of 1000"));
  CHECK(result.exit_code == was_interrupted);
  CHECK(read_file(folder / "samples.txt") == "older");
  CHECK(names_in(folder.path()) == std::vector<std::string>{"samples.txt"});
}

TEST_CASE("A second signal ends the run at once, in the middle of a batch") {
  for (const auto& [signal_number, code] : {std::pair(SIGINT, was_interrupted), std::pair(SIGTERM, was_terminated)}) {
    ProcessOptions options = interrupted_at("Iteration 2/100000", signal_number);
    options.interrupt_again = true;
    check_refused(with(endless, {"--diffusion_iterations=100000"}), code, {"Iteration 2/100000", "stopping after"},
                  options);
  }
}

TEST_CASE("A module whose forward never ends is ended by Ctrl-C while it is loaded") {
  ProcessOptions options;
  options.interrupt_after_s = 5;
  options.timeout_s = 60;
  const ProcessResult result = demask::testing::demask(
      quick({"--checkpoint_name=" DEMASK_SOURCE_DIR "/tests/fixtures/modules/endless.pt"}), options);
  CAPTURE(result.err);
  CHECK_FALSE(result.timed_out);
  CHECK(result.exit_code == was_interrupted);
  CHECK(result.out.empty());
}

TEST_CASE("A reader that leaves early ends the run quietly") {
  const TemporaryFolder folder;
  const std::string command =
      std::string(DEMASK_BINARY) + " --device=cpu --num_samples=1000 --batch_size=1 --sequence_length=8" +
      " --diffusion_iterations=2 --show_progress=False --output=" + (folder / "samples.txt") + " | head -1";
  ProcessOptions options;
  options.directory = DEMASK_SOURCE_DIR;
  options.timeout_s = 60;
  const ProcessResult result = run_process({"/bin/sh", "-c", command}, options);
  CHECK_FALSE(result.timed_out);
  CHECK(result.err.empty());
  CHECK(result.out.find('\n') + 1 == result.out.size());
  CHECK(names_in(folder.path()).empty());
}

TEST_CASE("A batch that does not fit in memory is halved, and its samples stay the same") {
  if (!address_space_can_be_limited) {
    return;
  }
  const TemporaryFolder folder;
  const std::string output = folder / "samples.jsonl";
  // Many tokens to choose from: much memory for little work.
  const std::vector<std::string> settings =
      quick({"--checkpoint_name=english.pt", "--sequence_length=32", "--diffusion_iterations=1", "--output=" + output});
  // One thread: threads reserve address space by the number of cores, and where they cannot, OpenMP ends the process.
  ProcessOptions options;
  options.environment = {{"OMP_NUM_THREADS", "1"}, {"OPENBLAS_NUM_THREADS", "1"}};
  options.timeout_s = 120;  // where only OpenBLAS's own buffer does not fit, OpenBLAS asks for it for ever

  // What the program itself takes differs between versions of LibTorch. A step is less than 256 samples take, so that
  // the first limit in which the run succeeds is one in which they do not all fit at once.
  ProcessResult halved;
  constexpr size_t gib = size_t{1} << 30;
  for (size_t limit = gib; halved.exit_code != done; limit += limit / 5) {
    REQUIRE(limit < 64 * gib);
    options.address_space_bytes = limit;
    halved = demask::testing::demask(with(settings, {"--num_samples=256", "--batch_size=256"}), options);
  }
  INFO(halved.err);
  CHECK(contains(halved.err, "Notice: out of memory on cpu with 256 samples at once; going on with 128."));
  const auto samples = read_json_lines(output);
  REQUIRE(samples.size() == 256);
  options.address_space_bytes = 0;
  demask::testing::demask(with(settings, {"--first_sample=255"}), options);
  CHECK(samples.back() == read_json_lines(output).front());
}

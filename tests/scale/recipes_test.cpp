// The recipes of docs/at_scale.md, run as they stand there.
#include "tests/support/recipes.h"

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/cli/refusal.h"
#include "tests/support/sanitized.h"

using namespace demask::testing;

namespace {

const char* const prompts = R"({"id": "a", "start_text": "ROMEO:", "num_samples": 3})"
                            "\n"
                            R"({"id": "b", "infill_text": "KING: ######"})"
                            "\n"
                            R"({"id": "c", "start_text": "O", "num_samples": 2})"
                            "\n";

std::string recipe(const std::string& name) {
  return demask::testing::recipe("at_scale.md", name);
}

void write_program(const std::string& path, const std::string& body) {
  write_file(path, "#!/bin/sh\n" + body);
  std::filesystem::permissions(path, std::filesystem::perms(0755));
}

// A folder with demask on its path, as short and exact as a test wants it, and with what this machine lacks: a Slurm
// and a torchrun that start processes with the variables of the real ones.
class Site {
 public:
  Site() {
    std::filesystem::create_directory(folder_ / "bin");
    const std::string source = DEMASK_SOURCE_DIR;
    write_program(folder_ / "bin/demask",
                  "exec '" DEMASK_BINARY
                  "' --device=cpu --dtype=float32 --sequence_length=24 --diffusion_iterations=2 "
                  "--out_dir='" +
                      source + "/out' --data_dir='" + source + "/data' \"$@\"\n");
    write_program(folder_ / "bin/srun",
                  "for rank in $(seq 0 $((SLURM_NTASKS - 1))); do\n"
                  "  SLURM_PROCID=$rank SLURM_LOCALID=$rank \"$@\" & processes=\"$processes $!\"\n"
                  "done\n"
                  "for process in $processes; do wait $process || exit 1; done\n");
    write_program(
        folder_ / "bin/sbatch",
        "for script; do :; done\n"
        "tasks=$(sed -n 's/.*--ntasks=\\([0-9]*\\).*/\\1/p' $script)\n"
        "last=$(sed -n 's/.*--array=0-\\([0-9]*\\).*/\\1/p' $script)\n"
        "export SLURM_NTASKS=${tasks:-1}\n"
        "[ -n \"$last\" ] || exec sh $script\n"
        "for task in $(seq 0 $last); do\n"
        "  SLURM_PROCID=0 SLURM_ARRAY_TASK_ID=$task SLURM_ARRAY_TASK_COUNT=$((last + 1)) sh $script || exit 1\n"
        "done\n");
    write_program(folder_ / "bin/torchrun",
                  "count=$(echo $1 | sed 's/.*=//'); shift 2\n"
                  "for rank in $(seq 0 $((count - 1))); do\n"
                  "  RANK=$rank WORLD_SIZE=$count LOCAL_RANK=$rank \"$@\" & processes=\"$processes $!\"\n"
                  "done\n"
                  "for process in $processes; do wait $process || exit 1; done\n");
    write_file(folder_ / "prompts.jsonl", prompts);
  }

  ProcessResult run(const std::string& commands) const {
    ProcessOptions options;
    options.directory = folder_.path();
    // Open MPI asks twice whether root may start it, and counts cores.
    options.environment = {{"PATH", folder_ / "bin:" + std::string(std::getenv("PATH"))},
                           {"OMP_NUM_THREADS", "1"},
                           {"OMPI_ALLOW_RUN_AS_ROOT", "1"},
                           {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
                           {"OMPI_MCA_rmaps_base_oversubscribe", "1"}};
    return run_process({"/bin/sh", "-c", commands}, options);
  }

  std::string file(const std::string& name) const { return folder_ / name; }

 private:
  TemporaryFolder folder_;
};

bool is_installed(const std::string& program) {
  return run_process({"/bin/sh", "-c", "command -v " + program}).exit_code == 0;
}

}  // namespace

TEST_CASE("Each launcher's recipe gives the bytes that a single process writes") {
  const Site single;
  REQUIRE(single.run("demask --prompts=prompts.jsonl --output=samples.jsonl").exit_code == done);
  const std::string expected = read_file(single.file("samples.jsonl"));
  for (const auto& [name, program] : std::vector<std::pair<std::string, std::string>>{
           {"parallel", "parallel"}, {"mpirun", "mpirun"}, {"torchrun", ""}, {"srun", ""}, {"array", ""}}) {
    if (!program.empty() && !is_installed(program)) {
      WARN(program << " is not installed: its recipe was not run");
      continue;
    }
    const Site site;
    const ProcessResult result = site.run(recipe(name));
    CAPTURE(name, result.err);
    REQUIRE(result.exit_code == done);
    CHECK(read_file(site.file("samples.jsonl")) == expected);
    CHECK(std::filesystem::exists(site.file("samples-0.jsonl")));
  }
}

TEST_CASE("mpirun and parallel give those bytes with any number of processes") {
  if (sanitized) {
    return;  // the recipes have run with one number already
  }
  const Site single;
  REQUIRE(single.run("demask --prompts=prompts.jsonl --output=samples.jsonl").exit_code == done);
  const std::string expected = read_file(single.file("samples.jsonl"));
  const auto with = [](std::string commands, const std::string& old, const std::string& fresh) {
    return commands.replace(commands.find(old), old.size(), fresh);
  };
  for (const int count : {1, 3, 8}) {  // 8 are more than there are samples
    const std::string number = std::to_string(count);
    std::vector<std::string> recipes;
    if (is_installed("mpirun") && count != 3) {
      recipes.push_back(with(recipe("mpirun"), "-n 2", "-n " + number));
    }
    if (is_installed("parallel") && count != 8) {
      recipes.push_back(
          with(with(recipe("parallel"), "{}/4", "{}/" + number), "seq 0 3", "seq 0 " + std::to_string(count - 1)));
    }
    for (const std::string& commands : recipes) {
      const Site site;
      const ProcessResult result = site.run(commands);
      CAPTURE(commands, result.err);
      REQUIRE(result.exit_code == done);
      CHECK(read_file(site.file("samples.jsonl")) == expected);
    }
  }
}

TEST_CASE("The smoke test passes with a model, and fails without one") {
  const Site site;
  CHECK(site.run(recipe("smoke")).exit_code == done);
  std::string without = recipe("smoke");
  without.replace(without.find("--num_samples=1"), 0, "--checkpoint_name=absent.pt ");
  CHECK(site.run(without).exit_code == bad_input);
}

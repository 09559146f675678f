// Every command of the Python script's guide, with our program and checkpoint names.
#include <algorithm>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/demask.h"

using namespace demask::testing;

namespace guide_test {
namespace {

struct GuideCommand {
  std::vector<std::string> arguments;
  int samples;
};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// What the guide's "Understanding the Output" lists: text, self-confidence, statistics, progress.
void check_output(const ProcessResult& result, const GuideCommand& command, const std::string& progress) {
  INFO(result.err);
  REQUIRE(result.exit_code == 0);
  for (int sample = 1; sample <= command.samples; ++sample) {
    CHECK(contains(result.out, "SAMPLE " + std::to_string(sample) + "/" + std::to_string(command.samples) + "\n"));
  }
  CHECK(contains(result.out, "Self-confidence: -"));
  CHECK(contains(result.out, "(prob: 0."));
  CHECK(contains(result.out, "most common: ' ': "));
  CHECK(contains(result.out, "tokens/s"));
  CHECK(contains(result.err, progress));
  CHECK_FALSE(contains(result.out, "Iteration 1/"));  // a pipe gets only text
}

}  // namespace

TEST_CASE("The guide's diffusion commands print samples, self-confidence, statistics and progress") {
  const std::vector<GuideCommand> commands = {
      {{"--sampling_method=diffusion", "--num_samples=4", "--sequence_length=512"}, 4},
      {{"--checkpoint_name=" + exported_diffusion, "--sampling_method=diffusion", "--num_samples=4",
        "--sequence_length=512"},
       4},
      {{"--remasking_checkpoint_name=remasking.pt", "--randomness_strength=0.2"}, 4},
      {{"--schedule_type=custom", "--masking_ratios=[0.95,0.8,0.6,0.4,0.2,0.05]"}, 4},
      {{"--diffusion_iterations=100", "--temperature=0.6", "--intelligent_remasking=True"}, 4},
      {{"--checkpoint_name=diffusion.pt", "--sampling_method=diffusion", "--sequence_length=256",
        "--diffusion_iterations=25", "--temperature=0.7", "--num_samples=3"},
       3},
      {{"--sampling_method=diffusion", "--sequence_length=512", "--temperature=1.0", "--top_p=0.9",
        "--intelligent_remasking=True", "--diffusion_iterations=50"},
       4},
  };
  for (GuideCommand command : commands) {
    // The commands as they stand take minutes on two cores: the same flags on shorter text, and in fewer iterations
    // where they do not say how many. scripts/sample runs the first as it is.
    CAPTURE(command.arguments);
    const bool says_how_many = std::any_of(command.arguments.begin(), command.arguments.end(), [](const auto& flag) {
      return contains(flag, "--diffusion_iterations") || contains(flag, "--masking_ratios");
    });
    if (!says_how_many) {
      command.arguments.emplace_back("--diffusion_iterations=10");
    }
    command.arguments.insert(command.arguments.end(), {"--sequence_length=64"});
    check_output(demask::testing::demask(command.arguments), command, "tokens masked (");
  }
}

TEST_CASE("The guide's standard command continues its prompt") {
  const GuideCommand command = {
      {"--sampling_method=standard", "--max_new_tokens=100", "--start_text=To be or not to be"}, 4};
  const ProcessResult result = demask::testing::demask(command.arguments);
  check_output(result, command, "Token ");
  CHECK(contains(result.out, "\nTo be or not to be"));
}

TEST_CASE("The guide's debug mode shows masks, ratios, probabilities and distributions on stderr") {
  const GuideCommand command = {
      {"--log_debug=True", "--use_verbose_logging=True", "--sequence_length=64", "--diffusion_iterations=4"}, 4};
  const ProcessResult result = demask::testing::demask(command.arguments);
  check_output(result, command, "tokens masked (");
  CHECK(contains(result.err, "####"));
  CHECK(contains(result.err, "ratio"));
  CHECK(contains(result.err, "entropy"));
}

}  // namespace guide_test

// A sample is a function of the seed and its index, not of the run that draws it.
#include <map>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/demask.h"

using namespace demask::testing;
using nlohmann::json;

namespace {

std::vector<json> sample_anywhere(std::vector<std::string> arguments) {
  const TemporaryFolder folder;
  const std::string output = folder / "samples.jsonl";
  arguments.insert(arguments.end(), {"--show_progress=False", "--output=" + output});
  const ProcessResult result = demask::testing::demask(arguments);
  INFO(result.err);
  REQUIRE(result.exit_code == 0);
  return read_json_lines(output);
}

std::vector<json> sample(std::vector<std::string> arguments) {
  arguments.insert(arguments.end(), {"--device=cpu", "--dtype=float32"});
  return sample_anywhere(arguments);
}

void check_batch_independence(const std::vector<std::string>& settings) {
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.end(), settings.begin(), settings.end());
    return sample(more);
  };
  const std::vector<json> eight = with({"--num_samples=8", "--batch_size=8"});
  REQUIRE(eight.size() == 8);
  CHECK(with({"--num_samples=8", "--batch_size=1"}) == eight);
  CHECK(with({"--num_samples=8", "--batch_size=3"}) == eight);
  CHECK(with({"--first_sample=5", "--num_samples=1"}).at(0) == eight[5]);
  CHECK(eight[4]["text"] != eight[5]["text"]);
}

}  // namespace

TEST_CASE("Diffusion draws the same sample alone and in any batch, to the last bit") {
  check_batch_independence({"--checkpoint_name=diffusion.pt", "--sequence_length=96", "--diffusion_iterations=8"});
}

TEST_CASE("Standard sampling draws the same sample alone and in any batch, to the last bit") {
  check_batch_independence({"--sampling_method=standard", "--max_new_tokens=40", "--start_text=KING"});
  check_batch_independence({"--sampling_method=standard", "--max_new_tokens=12"});
}

TEST_CASE("In int8 a sample is the same alone and in a batch, and the output's first line says the precision") {
  const TemporaryFolder folder;
  const std::string output = folder / "samples.jsonl";
  const std::vector<std::string> settings = {"--sampling_method=standard", "--max_new_tokens=24", "--start_text=KING",
                                             "--device=cpu", "--dtype=int8"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.end(), settings.begin(), settings.end());
    return more;
  };
  const std::vector<json> four = sample_anywhere(with({"--num_samples=4"}));
  CHECK(sample_anywhere(with({"--first_sample=2", "--num_samples=1"})).at(0) == four.at(2));
  REQUIRE(demask::testing::demask(with({"--num_samples=1", "--output=" + output})).exit_code == 0);
  const std::string written = read_file(output);
  CHECK(json::parse(written.substr(0, written.find('\n')))["dtype"] == "int8");
}

TEST_CASE("A seed of -1 is drawn anew, printed, and reproduces its samples") {
  const std::vector<std::string> settings = {"--sequence_length=32", "--diffusion_iterations=2", "--num_samples=1",
                                             "--dtype=float32", "--device=cpu"};
  const auto drawn = [&](const std::string& seed) {
    std::vector<std::string> arguments = settings;
    arguments.push_back("--seed=" + seed);
    return sample(arguments).at(0);
  };
  const json first = drawn("-1"), second = drawn("-1");
  CHECK(first["seed"] != second["seed"]);
  CHECK(drawn(first["seed"].dump()) == first);
}

// On CUDA an unwatched run replays recorded steps, from the second batch on all of them; a watched one launches each
// anew.
TEST_CASE("Watching a run does not change its samples") {
  for (const std::vector<std::string>& settings :
       {std::vector<std::string>{"--checkpoint_name=diffusion.pt", "--sequence_length=64", "--diffusion_iterations=6",
                                 "--top_p=0.95"},
        {"--checkpoint_name=" + exported_diffusion, "--sequence_length=64", "--diffusion_iterations=6",
         "--intelligent_remasking=False"},
        {"--sampling_method=standard", "--max_new_tokens=40", "--repetition_penalty=1.2"}}) {
    std::vector<std::string> unwatched = settings;
    unwatched.insert(unwatched.end(), {"--num_samples=6", "--batch_size=2"});
    std::vector<std::string> watched = unwatched;
    watched.insert(watched.end(), {"--log_debug=True", "--use_verbose_logging=True"});
    CHECK(sample_anywhere(watched) == sample_anywhere(unwatched));
  }
}

// Numbers of threads that the environment asks for.
#include <string>
#include <vector>

#include "tests/cli/refusal.h"

using namespace demask::testing;

namespace {

const std::vector<std::string> asked = {"1", "2",  "2,1",  "32000", "99999", "99999999999999999999999",
                                        "0", "-3", "many", ""},
                               of_each_kind = {"1", "2,1", "99999", "many"};

// What was drawn, without the head and the time that it took.
std::string samples_of(const std::string& printed) {
  const size_t first = printed.find("SAMPLE");
  return first == printed.npos ? "" : printed.substr(first, printed.rfind("Generated") - first);
}

// Each number of threads ends well, with the same text.
void check_same_text(const std::vector<std::string>& numbers, const std::vector<std::string>& arguments) {
  std::string expected;
  for (const std::string& threads : numbers) {
    ProcessOptions options;
    options.environment = {{"OMP_NUM_THREADS", threads}};
    const ProcessResult result = demask::testing::demask(quick(arguments), options);
    CAPTURE(arguments, threads, result.err);
    CHECK(result.exit_code == done);
    const std::string drawn = samples_of(result.out);
    CHECK(contains(drawn, "SAMPLE 1/"));
    if (expected.empty()) {
      expected = drawn;
    }
    CHECK(drawn == expected);
  }
}

}  // namespace

TEST_CASE("Any OMP_NUM_THREADS draws the same text, absurd and malformed ones too") {
  check_same_text(asked, {"--num_samples=2", "--sequence_length=300"});
  check_same_text(of_each_kind, {"--sampling_method=standard", "--num_samples=2", "--max_new_tokens=20"});
}

TEST_CASE("A module that runs on LibTorch's operations takes any OMP_NUM_THREADS") {
  const TemporaryFolder folder;
  const std::string vocabulary = folder / "meta.json";
  write_file(vocabulary, R"({"itos": ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"]})");  // and the mask
  check_same_text(of_each_kind,
                  {"--checkpoint_name=" + std::string(DEMASK_SOURCE_DIR) + "/tests/fixtures/modules/near_gpt_tanh.pt",
                   "--meta_path=" + vocabulary, "--sequence_length=16"});
}

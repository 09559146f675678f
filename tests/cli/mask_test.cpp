// The mask token in what is given, and the vocabulary that nobody named.
#include <string>
#include <vector>

#include "tests/cli/refusal.h"
#include "tests/support/checkpoint_files.h"

using namespace demask::testing;

namespace mask_test {
namespace {

// A tiny model whose third token, "_", is the mask.
struct TinyModel {
  TinyModel() {
    tiny_checkpoint().write(folder / "tiny.pt");
    write_file(folder / "meta.json", R"({"itos": ["a", "b", "_"], "mask_token_id": 2})");
  }
  std::vector<std::string> arguments(const std::vector<std::string>& more) const {
    std::vector<std::string> all = {"--checkpoint_name=" + (folder / "tiny.pt"),
                                    "--meta_path=" + (folder / "meta.json"), "--sequence_length=5"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  TemporaryFolder folder;
};

}  // namespace

TEST_CASE("A mask token in a text that is given is refused with token and position, by every strategy") {
  const TinyModel tiny;
  for (const std::string strategy : {"remask", "best", "confidence", "threshold", "ancestral"}) {
    check_refused(tiny.arguments({"--start_text=ab_", "--strategy=" + strategy}), bad_usage,
                  {"start_text", "'_'", "id 2", "position 2", "--infill_text"});
  }
  check_refused(tiny.arguments({"--infill_text=#_b#"}), bad_usage, {"infill_text", "'_'", "position 1"});
  // As the template's own mark it is no token.
  CHECK(demask::testing::demask(quick(tiny.arguments({"--infill_text=a_b_", "--mask_char=_"}))).exit_code == 0);
}

TEST_CASE("A line of a list that holds the mask token is left out where such lines are to be") {
  const TinyModel tiny;
  const std::string list = tiny.folder / "list.txt", output = tiny.folder / "samples.jsonl";
  write_file(list, "ab\na_\nba\n");
  const std::vector<std::string> arguments = quick(tiny.arguments({"--prompts=" + list, "--output=" + output}));
  const ProcessResult refused = demask::testing::demask(arguments);
  CHECK(refused.exit_code == bad_input);
  CHECK(contains(refused.err, list + ":2: start_text has the mask token"));
  std::vector<std::string> skipping = arguments;
  skipping.push_back("--on_error=skip");
  const ProcessResult skipped = demask::testing::demask(skipping);
  CAPTURE(skipped.err);
  CHECK(skipped.exit_code == failed);
  CHECK(contains(skipped.err, "1 lines of " + list + " were left out"));
  CHECK(read_json_lines(output).size() == 2);
}

TEST_CASE("Standard sampling, which masks nothing, prints the mask token's own text") {
  const TinyModel tiny;
  const ProcessResult result = demask::testing::demask(
      quick(tiny.arguments({"--sampling_method=standard", "--start_text=a_b", "--max_new_tokens=2"})));
  CAPTURE(result.err);
  CHECK(result.exit_code == 0);
  CHECK(contains(result.out, "\na_b"));
  CHECK_FALSE(contains(result.out, "[MASK]"));
}

TEST_CASE("A vocabulary that neither a flag nor the checkpoint names is told of, and every output names its own") {
  const TinyModel tiny;
  const std::string data = tiny.folder / "data", guessed = data + "/shakespeare_char/meta.json",
                    output = tiny.folder / "samples.jsonl";
  std::filesystem::remove(tiny.folder / "meta.json");  // beside the model it would be the model's own
  std::filesystem::create_directories(data + "/shakespeare_char");
  write_file(guessed, R"({"itos": ["a", "b"]})");
  const std::vector<std::string> arguments = quick({"--checkpoint_name=" + (tiny.folder / "tiny.pt"),
                                                    "--data_dir=" + data, "--sequence_length=5", "--output=" + output});
  const ProcessResult result = demask::testing::demask(arguments);
  CAPTURE(result.err);
  CHECK(result.exit_code == 0);
  CHECK(contains(result.err, "does not say which dataset it was trained on"));
  CHECK(contains(result.err, guessed));
  CHECK(contains(result.out, "\nvocabulary: " + guessed));
  CHECK(read_header(output)["vocabulary"] == guessed);
  std::vector<std::string> named = arguments;
  named.push_back("--dataset=shakespeare_char");
  CHECK_FALSE(contains(demask::testing::demask(named).err, "which dataset"));
}

}  // namespace mask_test

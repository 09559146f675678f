// Keys, values and texts that cannot be meant.
#include <string>
#include <vector>

#include "tests/cli/refusal.h"

using namespace demask::testing;

TEST_CASE("A value out of range or of the wrong type is refused with its key, itself and what is allowed") {
  struct Case {
    std::string argument;
    std::vector<std::string> parts;
  };
  const std::vector<Case> cases = {
      {"--sequence_length=0", {"from 1"}},
      {"--sequence_length=-5", {"from 1"}},
      {"--num_samples=0", {"from 1"}},
      {"--num_samples=1.5", {"whole number"}},
      {"--num_samples=99999999999999999999", {"whole number"}},
      {"--temperature=-0.1", {"at least 0"}},
      {"--temperature=warm", {"a number"}},
      {"--temperature=nan", {"a number"}},
      {"--top_p=0", {"above 0", "at most 1"}},
      {"--top_p=2", {"above 0", "at most 1"}},
      {"--start_ratio=1.5", {"from 0 to 1"}},
      {"--end_ratio=-0.1", {"from 0 to 1"}},
      {"--masking_ratios=[0.9, 1.5]", {"from 0 to 1"}},
      {"--masking_ratios=[]", {"one or more", "from 0 to 1"}},
      {"--masking_ratios=[[0.5]]", {"list", "from 0 to 1"}},
      {"--masking_ratios=0.5", {"list", "from 0 to 1"}},
      {"--intelligent_remasking=perhaps", {"True or False"}},
      {"--sampling_method=magic", {"'diffusion'", "'standard'"}},
      {"--init_from=scratch", {"'resume'"}},
      {"--mask_char=##", {"single character"}},
      {"--mask_char=", {"single character"}},
      {"--device=tpu", {"'cpu'", "'cuda'"}},
  };
  for (const Case& entry : cases) {
    std::vector<std::string> parts = entry.parts;
    parts.push_back(entry.argument);
    check_refused({entry.argument}, bad_usage, parts);
  }
}

TEST_CASE("A key that does not exist is refused with the nearest that does") {
  check_refused({"--sequence_lenght=8"}, bad_usage, {"--sequence_lenght", "did you mean --sequence_length?"});
  check_refused({"--quux=3"}, bad_usage, {"unknown key --quux", "did you mean --", "--help"});
  check_refused({"--=3"}, bad_usage, {"unknown key --", "--help"});
  check_refused({"--"}, bad_usage, {"unknown key --", "--help"});
  check_refused({"-x"}, bad_usage, {"-x", "--key=value"});
}

TEST_CASE("A length beyond the block size is refused with both numbers") {
  check_refused({"--checkpoint_name=diffusion.pt", "--sequence_length=513"}, bad_usage,
                {"sequence_length", "513", "512", "block size", "diffusion.pt"});
  check_refused({"--infill_text=" + std::string(600, '#')}, bad_usage, {"infill_text", "600", "512", "block size"});
}

TEST_CASE("A schedule that grows is allowed and said") {
  const ProcessResult result = demask::testing::demask(quick({"--start_ratio=0.1", "--end_ratio=0.9"}));
  CHECK(result.exit_code == done);
  CHECK(contains(result.err, "Notice: start_ratio=0.1 is below end_ratio=0.9"));
  CHECK(contains(result.out, "SAMPLE 1/1"));
}

TEST_CASE("Characters outside the vocabulary are each named, or dropped when asked") {
  const std::string text = "To \xC3\xA9 be 5 or\xE2\x82\xAC";
  const std::vector<std::string> named = {"'\xC3\xA9'", "'5'", "'\xE2\x82\xAC'"};
  for (const std::string key : {"start_text", "infill_text"}) {
    std::vector<std::string> parts = named;
    parts.insert(parts.end(), {key, "vocabulary", "--unknown_chars=skip"});
    check_refused({"--sequence_length=32", "--" + key + "=" + text + "#"}, bad_input, parts);
  }

  const ProcessResult skipped = demask::testing::demask(
      quick({"--sampling_method=standard", "--max_new_tokens=4", "--start_text=" + text, "--unknown_chars=skip"}));
  CHECK(skipped.exit_code == done);
  for (const std::string& character : named) {
    CHECK(contains(skipped.err, character));
  }
  CHECK(contains(skipped.out, "\nTo  be  or"));
}

TEST_CASE("A text that is not UTF-8 is refused") {
  check_refused({"--start_text=\xFF\xFE"}, bad_input, {"start_text", "UTF-8"});
}

TEST_CASE("A template or prefix that leaves nothing to fill is refused") {
  check_refused({"--infill_text="}, bad_usage, {"infill_text is empty", "'#'"});
  check_refused({"--infill_text=To be"}, bad_usage, {"infill_text", "nothing to fill", "'#'", "--mask_char"});
  check_refused({"--start_text=To be or not to be"}, bad_usage,
                {"start_text", "18 tokens", "nothing to fill", "sequence_length=8"});
}

TEST_CASE("A text file that cannot be read is named with its key") {
  const TemporaryFolder folder;
  for (const std::string& path : {folder / "absent.txt", folder.path()}) {
    for (const std::string key : {"start_text", "infill_text"}) {
      check_refused({"--" + key + "=FILE:" + path}, bad_input, {path, key});
    }
  }
  check_refused({"--start_text=FILE:/dev/zero"}, bad_input, {"/dev/zero", "start_text", "not a regular file"});
}

TEST_CASE("A device or precision that is not there is refused with what to use instead") {
  check_refused({"--dtype=float16"}, bad_usage, {"dtype='float16'", "CPU", "--dtype=float32", "bfloat16"});
  const bool has_cuda = devices().size() > 1;
  const std::string device = has_cuda ? "cuda:99" : "cuda";
  check_refused({"--device=" + device}, bad_usage, {"device='" + device + "'", has_cuda ? "cuda:0" : "--device=cpu"});
}

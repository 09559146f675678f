// Patterns as a user gives them: every sample matches, by PCRE2, whatever draws it; what cannot match is refused; and
// the examples of docs/canvas.md, run as they stand there.
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/cli/refusal.h"
#include "tests/support/pcre2_engine.h"
#include "tests/support/recipes.h"

using namespace demask::testing;
using nlohmann::json;

namespace pattern_test {
namespace {

using Arguments = std::vector<std::string>;

const std::string document = "canvas.md";

// The texts of a run whose texts match the pattern.
std::vector<std::string> check_matching(const std::string& pattern, const Arguments& more) {
  const TemporaryFolder folder;
  const std::string output = folder / "samples.jsonl";
  Arguments arguments = {"--pattern=" + pattern, "--num_samples=3", "--diffusion_iterations=6", "--output=" + output,
                         "--device=cpu",         "--dtype=float32", "--show_progress=False"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const ProcessResult result = demask::testing::demask(arguments);
  CAPTURE(pattern, more, result.err);
  REQUIRE(result.exit_code == done);
  const Pcre2Engine engine(pattern);
  REQUIRE(engine.reads_pattern());
  std::vector<std::string> texts;
  for (const json& sample : read_json_lines(output)) {
    texts.push_back(sample["text"].get<std::string>());
    CAPTURE(texts.back());
    CHECK(engine.matches(texts.back()));
  }
  CHECK(texts.size() == 3);
  return texts;
}

}  // namespace

// Strategies that only choose other positions are like those here: unit tests hold what a draw at any positions gives.
TEST_CASE("Texts match their pattern by every kind of strategy, in blocks and at temperature 0") {
  const std::string verse = "[A-Z]+:\\n([^e\\n]{18,24}\\n){2}";
  const std::string by_model = "--remasking_checkpoint_name=remasking.pt";
  for (const Arguments& more : std::vector<Arguments>{{"--strategy=remask"},
                                                      {"--strategy=remask", by_model},
                                                      {"--strategy=remask", "--confidence_source=draw"},
                                                      {"--strategy=best"},
                                                      {"--strategy=confidence"},
                                                      {"--strategy=confidence", "--block_length=12"},
                                                      {"--strategy=left_to_right"},
                                                      {"--strategy=ancestral"},
                                                      {"--strategy=threshold"},
                                                      {"--strategy=remdm"},
                                                      {"--strategy=planner"},
                                                      {"--temperature=0"},
                                                      {"--top_p=0.5", "--temperature_end=0.1"},
                                                      {"--repetition_penalty=1.3"}}) {
    Arguments all = {"--sequence_length=48"};
    all.insert(all.end(), more.begin(), more.end());
    check_matching(verse, all);
  }
}

TEST_CASE("Texts match their pattern with a prompt, a template, pieces of text, and in standard sampling") {
  check_matching("ROMEO: [a-z]+ [a-z]+, my lord\\.", {"--infill_text=ROMEO: #########, my lord."});
  check_matching("The [^e]*", {"--start_text=The ", "--sequence_length=30"});
  const Arguments pieces = {"--checkpoint_name=english.pt", "--sequence_length=16"};
  check_matching("The [a-z]+ (was|is) [^.]*\\. .{10,60}\\.", pieces);
  check_matching("([^e]|\\n){20,80}", pieces);
  const Arguments standard = {"--sampling_method=standard", "--max_new_tokens=40"};
  check_matching("[A-Z]+:\\n([^e\\n]{1,20}\\n)+", standard);
  check_matching("ROMEO:\\n(\\w+[ ,.\\n]{1,2})*", {"--sampling_method=standard", "--start_text=ROMEO:\n"});
}

TEST_CASE("A text that matches a pattern is the same alone and among others") {
  const Arguments each = {"--sequence_length=24"};
  const std::vector<std::string> together = check_matching("([a-z]{1,7} ?)*", each);
  const TemporaryFolder folder;
  const ProcessResult alone = demask::testing::demask(
      {"--pattern=([a-z]{1,7} ?)*", "--num_samples=1", "--first_sample=2", "--diffusion_iterations=6", "--device=cpu",
       "--dtype=float32", "--show_progress=False", "--sequence_length=24", "--output=" + (folder / "one.jsonl")});
  REQUIRE(alone.exit_code == done);
  CHECK(read_json_lines(folder / "one.jsonl")[0]["text"] == together[2]);
}

TEST_CASE("A pattern that nothing can match is refused before anything is drawn, with what would match") {
  check_refused({"--pattern=a{5}"}, bad_usage, {"no text of 8 tokens matches it", "have 5 tokens"});
  check_refused({"--pattern=(ab){2,9}c"}, bad_usage,
                {"no text of 8 tokens", "from 5 to 19 tokens", "not of every number"});
  check_refused({"--pattern=(ab)*c"}, bad_usage, {"have 1 token or more", "not of every number"});
  check_refused({"--pattern=RO.*E", "--infill_text=ROMEO: ###."}, bad_usage,
                {"'.' at position 10", "3 tokens or more"});
  check_refused({"--pattern=[a-z]*", "--start_text=ab Cd", "--sequence_length=8"}, bad_usage, {"' ' at position 2"});
  check_refused({"--pattern=é+"}, bad_usage, {"no text that the tokens of the vocabulary"});
  check_refused({"--sampling_method=standard", "--pattern=a{5}"}, bad_usage, {"no text of 101 tokens matches it"});
  check_refused({"--pattern="}, bad_usage, {"must be a regular expression"});
  check_refused({"--pattern=a{1000000}"}, bad_usage, {"more than 10000 states"});
  check_refused({"--pattern=(a)\\1"}, bad_usage, {"a backreference, '\\1', at character 4"});
  check_refused({"--pattern=" + std::string(100000, '(')}, bad_usage, {"'(' has no ')' at character 100000"});
  check_refused({"--pattern=FILE:/nowhere/pattern"}, bad_input, {"--pattern"});
}

TEST_CASE("A pattern's file may end in a newline, and a megabyte of one is read") {
  const TemporaryFolder folder;
  write_file(folder / "pattern", "[a-z]{8}\n");
  CHECK(demask::testing::demask(quick({"--pattern=FILE:" + (folder / "pattern")})).exit_code == done);
  std::string large = "[a-z]{8}";
  while (large.size() < (size_t{1} << 20)) {
    large += "|abcdefgh";
  }
  write_file(folder / "pattern", large);
  CHECK(demask::testing::demask(quick({"--pattern=FILE:" + (folder / "pattern")})).exit_code == done);
  check_refused({"--pattern=FILE:" + (folder / "bytes")}, bad_input, {"not found"});
  write_file(folder / "bytes", "a\xff");
  check_refused({"--pattern=FILE:" + (folder / "bytes")}, bad_usage, {"not UTF-8 at byte 2"});
}

TEST_CASE("Lines of a list that cannot match are named, or left out") {
  const TemporaryFolder folder;
  const std::string list = folder / "prompts.jsonl";
  write_file(list, R"({"id": 1, "start_text": "", "pattern": "[a-z]*", "sequence_length": 8}
{"id": 2, "start_text": "", "pattern": "a{3}", "sequence_length": 8}
{"id": 3, "start_text": "", "pattern": "(", "sequence_length": 8}
)");
  check_refused({"--prompts=" + list}, bad_input, {list + ":2: pattern: no text of 8 tokens"});
  const ProcessResult result =
      demask::testing::demask(quick({"--prompts=" + list, "--on_error=skip", "--output=" + (folder / "out.jsonl")}));
  CHECK(result.exit_code == failed);
  const std::vector<json> samples = read_json_lines(folder / "out.jsonl");
  REQUIRE(samples.size() == 1);
  CHECK(Pcre2Engine("[a-z]*").matches(samples[0]["text"].get<std::string>()));
}

TEST_CASE("Every word of a text is of the list, in diffusion and in standard sampling, alone and beside a pattern") {
  const std::string list = std::string(DEMASK_SOURCE_DIR) + "/bench/quality/data/words.txt";
  std::set<std::string> words;
  std::ifstream file(list);
  for (std::string word; std::getline(file, word);) {
    words.insert(word);
  }
  for (const Arguments& more : std::vector<Arguments>{
           {"--pattern=(.|\\n)*", "--sequence_length=80"},
           {"--pattern=[A-Z]+:\\n([^e\\n]{10,20}\\n)+", "--sequence_length=48", "--temperature=0"},
           {"--pattern=[^\\d]*", "--sampling_method=standard", "--max_new_tokens=80", "--start_text=The "}}) {
    Arguments all = {"--words=" + list};
    all.insert(all.end(), more.begin() + 1, more.end());
    for (const std::string& text : check_matching(more[0].substr(sizeof "--pattern=" - 1), all)) {
      std::string word;
      for (const char byte : text + " ") {
        const bool is_letter = std::isalpha(static_cast<unsigned char>(byte)) != 0;
        if (is_letter || byte == '\'') {
          word += is_letter ? static_cast<char>(std::tolower(static_cast<unsigned char>(byte))) : byte;
        } else if (const std::string whole = std::exchange(word, ""); !whole.empty()) {
          CAPTURE(text, whole);
          CHECK(words.count(whole) == 1);
        }
      }
    }
  }
}

TEST_CASE("Words that cannot be spelt are counted by their characters, and can be left out") {
  const TemporaryFolder folder;
  const std::string list = folder / "words.txt";
  write_file(list, "caf\u00e9\nna\u00efve\n\u00e9t\u00e9\nthe\n");
  const std::string counts = "3 of the 4 words of '" + list +
                             "' have characters that are not in the vocabulary: " + "'\u00e9' (2), '\u00ef' (1)";
  check_refused({"--words=" + list}, bad_input, {counts, "--unknown_chars=skip"});
  const ProcessResult result = demask::testing::demask(quick({"--words=" + list, "--unknown_chars=skip"}));
  CHECK(result.exit_code == done);
  CHECK(result.err.find(counts) != std::string::npos);
  check_refused({"--words=" + list, "--unknown_chars=skip", "--start_text=thee"}, bad_usage,
                {"words: no text of", "has 'e' at position 3"});
  write_file(list, "two words\n");
  check_refused({"--words=" + list}, bad_input, {"line 1: white space in a word"});
  check_refused({"--words=/nowhere/words.txt"}, bad_input, {"--words"});
}

TEST_CASE("The examples of docs/canvas.md run as they stand there") {
  for (const std::string& name : recipe_names(document)) {
    if (name == "score" || name == "best_of") {
      continue;  // run where scores are tested
    }
    CAPTURE(name);
    const TemporaryFolder site;
    std::filesystem::create_directories(site / "bin");
    for (const std::string folder : {"out", "data"}) {
      std::filesystem::create_directory_symlink(std::string(DEMASK_SOURCE_DIR) + "/" + folder, site / folder);
    }
    write_file(site / "bin/demask", "#!/bin/sh\nexec '" DEMASK_BINARY
                                    "' --device=cpu --dtype=float32 --num_samples=1 --diffusion_iterations=4 \"$@\"\n");
    std::filesystem::permissions(site / "bin/demask", std::filesystem::perms(0755));
    ProcessOptions options;
    options.directory = site.path();
    options.environment = {{"PATH", site / "bin:" + std::string(std::getenv("PATH"))}};
    const ProcessResult result = run_process({"/bin/sh", "-ec", recipe(document, name)}, options);
    CAPTURE(result.err);
    CHECK(result.exit_code == done);
  }
}

}  // namespace pattern_test

#include "text/read_vocabulary.h"

#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/fuzz_inputs.h"
#include "tests/support/process.h"

using Catch::Matchers::ContainsSubstring;
using demask::read_vocabulary;
using namespace demask::testing;
using namespace std::string_literals;

namespace {

std::string vocabulary_refusal(const std::string& content) {
  const TemporaryFolder folder;
  write_file(folder / "meta", content);
  const std::string message = bad_input_message([&] { read_vocabulary(folder / "meta"); });
  CHECK_THAT(message, ContainsSubstring("/meta'"));
  return message;
}

}  // namespace

TEST_CASE("a missing vocabulary is named, with what is there and the flags to set") {
  const TemporaryFolder folder;
  write_file(folder / "other.pkl", "x");
  CHECK(bad_input_message([&] { read_vocabulary(folder / "meta.pkl"); }) ==
        "vocabulary not found: '" + folder / "meta.pkl" + "'. Files in '" + folder.path() +
            "': other.pkl. Set --meta_path or --dataset.");
  CHECK_THAT(bad_input_message([&] { read_vocabulary(folder.path()); }),
             ContainsSubstring("the folder has none of tokenizer.json") && ContainsSubstring("other.pkl"));
}

TEST_CASE("a folder's first file counts: tokenizer.json, vocab.json with merges.txt, ranks, merges.txt, meta files") {
  const TemporaryFolder folder;
  for (const std::string name :
       {"meta.json", "meta.pkl", "merges.txt", "b.tiktoken", "a.tiktoken", "vocab.json", "tokenizer.json"}) {
    write_file(folder / name, "x");
    CHECK(demask::vocabulary_in(folder.path()) == folder / name);
  }
  const TemporaryFolder without_merges;
  write_file(without_merges / "vocab.json", "{}");
  CHECK_FALSE(demask::vocabulary_in(without_merges.path()));
}

TEST_CASE("a file of another format is named, with what to do about it") {
  CHECK_THAT(vocabulary_refusal("version https://git-lfs.github.com/spec/v1\n"), ContainsSubstring("git lfs pull"));
  CHECK_THAT(vocabulary_refusal("\x1f\x8b\x08"), ContainsSubstring("compressed with gzip"));
  CHECK_THAT(vocabulary_refusal("(dp0\nVitos\np1\n(dp2\ns."),
             ContainsSubstring("a pickle of protocol 0 or 1. Write it again"));
  CHECK_THAT(vocabulary_refusal("PK\3\4"), ContainsSubstring("a zip file, perhaps a checkpoint"));
  CHECK_THAT(vocabulary_refusal("<!doctype html>"), ContainsSubstring("a web page"));
  const std::string old = read_file(std::string(DEMASK_SOURCE_DIR) + "/tests/fixtures/vocabularies/meta_protocol0.pkl");
  CHECK_THAT(vocabulary_refusal(old), ContainsSubstring("protocol 0 or 1"));
}

TEST_CASE("every vocabulary of the fuzzers is read or refused") {
  const std::vector<std::string> paths = demask::testing::fuzz_inputs("vocabulary");
  CHECK(paths.size() >= 5);
  for (const std::string& path : paths) {
    CAPTURE(path);
    demask::testing::succeeds_or_reports([&] { read_vocabulary(path); });
  }
}

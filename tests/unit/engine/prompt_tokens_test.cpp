#include "engine/prompt_tokens.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/process.h"
#include "text/character_vocabulary.h"

using namespace demask;

namespace prompt_tokens_test {
namespace {

constexpr int64_t mask = 4;

CharacterVocabulary letters() {
  return CharacterVocabulary({"a", "b", "é", "\n"});
}

}  // namespace

TEST_CASE("A prefix is fixed and the rest is free; it must leave something to fill") {
  const Template text = prefix_template("start_text", {1, 0}, 4, mask);
  CHECK(text.tokens == std::vector<int64_t>{1, 0, mask, mask});
  CHECK(text.fixed == std::vector<bool>{true, true, false, false});
  CHECK_THROWS_AS(prefix_template("start_text", {1, 0}, 2, mask), Error);
}

TEST_CASE("A prompt's ids are its tokens, or those of its text, and every one is in vocabulary and model") {
  ModelInfo model;
  model.input_size = 5;
  const auto ids = [&](const Prompt& prompt) { return prompt_ids(prompt, letters(), model, {}); };
  const auto message = [&](const Prompt& prompt) { return demask::testing::message_of([&] { ids(prompt); }); };
  Prompt prompt;
  CHECK(ids(prompt).empty());
  prompt.start_text = "ab";
  CHECK(ids(prompt) == std::vector<int64_t>{0, 1});
  prompt.tokens = {3, 2};
  CHECK(message(prompt).find("tokens and start_text exclude each other") == 0);
  prompt.start_text.reset();
  CHECK(ids(prompt) == std::vector<int64_t>{3, 2});
  prompt.infill_text = "#";
  CHECK(message(prompt).find("tokens and infill_text exclude each other") == 0);
  prompt.infill_text.reset();
  prompt.infill = {{{}, 1, 2}};
  CHECK(message(prompt).find("infill and tokens exclude each other") == 0);
  prompt.infill.reset();
  for (const int64_t id : {int64_t{4}, int64_t{-1}, INT64_MAX, INT64_MIN}) {
    prompt.tokens = {0, id};
    CHECK(message(prompt).find("tokens[1] = " + std::to_string(id) + ": must be an id") == 0);
    CHECK(message(prompt).find("from 0 to 3") != std::string::npos);
  }
  model.input_size = 2;
  prompt.tokens = {2};
  CHECK(message(prompt).find("from 0 to 1") != std::string::npos);
}

TEST_CASE("Unknown characters are each named once, or dropped when asked") {
  try {
    encode_text("start_text", "aXbXY", letters(), {});
    FAIL("was accepted");
  } catch (const Error& error) {
    CHECK(std::string(error.what()).find("'X', 'Y'") != std::string::npos);
    CHECK(error.code() == ExitCode::bad_input);
  }
  CHECK(encode_text("start_text", "aXbXY", letters(), {true, true}) == std::vector<int64_t>{0, 1});
}

TEST_CASE("FILE: names a file that holds the text; without it the text is itself") {
  const demask::testing::TemporaryFolder folder;
  demask::testing::write_file(folder / "prompt.txt", "ab\n");
  CHECK(read_text_argument("start_text", "FILE:" + (folder / "prompt.txt")) == "ab\n");
  CHECK(read_text_argument("start_text", "ab FILE:x") == "ab FILE:x");
  demask::testing::write_file(folder / "marked.txt",
                              "\xEF\xBB\xBF"
                              "ab\xEF\xBB\xBF");
  CHECK(read_text_argument("start_text", "FILE:" + (folder / "marked.txt")) == "ab\xEF\xBB\xBF");  // one, at the start
  CHECK_THROWS_AS(read_text_argument("start_text", "FILE:" + (folder / "missing.txt")), Error);
  CHECK_THROWS_AS(read_text_argument("start_text", "FILE:" + folder.path()), Error);
}

}  // namespace prompt_tokens_test

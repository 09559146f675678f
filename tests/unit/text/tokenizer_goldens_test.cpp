// Encodings against what the tokenizers library gives: its ids for the vocabularies of tests/fixtures/goldens, each in
// the layout of a family, and for GPT-2's real one.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/text.h"
#include "tests/support/catch.h"
#include "text/read_vocabulary.h"
#include "text/tokenizer_json.h"

using demask::read_vocabulary;
using demask::Vocabulary;
using nlohmann::json;
using Ids = std::vector<int64_t>;

namespace {

const std::filesystem::path fixtures = std::filesystem::path(DEMASK_SOURCE_DIR) / "tests/fixtures";

json read_json(const std::filesystem::path& path) {
  std::ifstream file(path);
  return json::parse(file);
}

std::string hexadecimal(const std::string& bytes) {
  std::string digits;
  for (const char byte : bytes) {
    digits += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  }
  return digits;
}

Ids without_special(const Vocabulary& vocabulary, const Ids& ids) {
  Ids kept;
  std::copy_if(ids.begin(), ids.end(), std::back_inserter(kept),
               [&](int64_t id) { return !vocabulary.is_special(id); });
  return kept;
}

void check_case(const Vocabulary& vocabulary, const json& expected) {
  const std::string text = expected["text"];
  CAPTURE(text);
  const Vocabulary::Encoding encoding = vocabulary.encode(text, true);
  CHECK(encoding.unknown.empty());
  CHECK(encoding.ids == expected["ids"].get<Ids>());
  CHECK(vocabulary.encode(text).ids == expected.value("ids_special_as_text", expected["ids"]).get<Ids>());
  CHECK(hexadecimal(vocabulary.bytes(encoding.ids)) == expected.value("bytes_hex", hexadecimal(text)));
  CHECK(vocabulary.decode(encoding.ids) == expected.value("decoded", text));
  if (expected.contains("decoded_skip_special")) {
    CHECK(vocabulary.decode(without_special(vocabulary, encoding.ids)) ==
          expected["decoded_skip_special"].get<std::string>());
  }
  if (expected.contains("ids_with_bos")) {
    Ids ids = vocabulary.template_prefix();
    ids.insert(ids.end(), encoding.ids.begin(), encoding.ids.end());
    CHECK(ids == expected["ids_with_bos"].get<Ids>());
  }
}

}  // namespace

TEST_CASE("texts are encoded as by the tokenizers library, in every family's layout") {
  const std::string name = GENERATE("dream", "gpt2", "gpt2-sharded", "llada", "llada-gqa", "llama", "llama-ropescaled",
                                    "mdlm", "nanogpt", "nanogpt-nobias", "qwen2", "qwen3");
  CAPTURE(name);
  const std::filesystem::path folder = fixtures / "goldens" / name;
  const json expected = read_json(folder / "expected.json");
  // vocab.json with merges.txt says the same as tokenizer.json, where both are there.
  for (const char* file : {"", "vocab.json"}) {
    if (std::filesystem::exists(folder / "model" / file)) {
      const auto vocabulary = read_vocabulary(folder / "model" / file);
      for (const json& one : expected["tokenizer"]) {
        check_case(*vocabulary, one);
      }
      const json mask = expected.value("mask_token_id", json());
      if (mask.is_number() && name != "mdlm") {  // whose mask is in none of its files
        CHECK(vocabulary->mask_token_id() == mask.get<int64_t>());
      }
      REQUIRE(vocabulary->end_of_text());
      CHECK(demask::starts_with(vocabulary->piece(*vocabulary->end_of_text()), "<|"));
      CHECK_FALSE(vocabulary->characters());
    }
  }
}

TEST_CASE("GPT-2's encoding is that of the tokenizers library and of tiktoken") {
  const auto vocabulary = read_vocabulary(std::string(DEMASK_SOURCE_DIR) + "/data/gpt2");
  CHECK(vocabulary->size() == 50257);
  CHECK(vocabulary->end_of_text() == 50256);
  CHECK(vocabulary->is_special(50256));
  CHECK_FALSE(vocabulary->is_special(50255));
  CHECK_FALSE(vocabulary->mask_token_id());
  const json expected = read_json(fixtures / "tokenizers/gpt2_cases.json");
  for (const json& one : expected["cases"]) {
    check_case(*vocabulary, one);
  }
  for (const json& one : expected["decode"]) {
    const Ids ids = one["ids"];
    CAPTURE(ids);
    CHECK(hexadecimal(vocabulary->bytes(ids)) == one["bytes_hex"].get<std::string>());
    CHECK(vocabulary->decode(ids) == one["text_replace"].get<std::string>());
    if (one.contains("text_skip_special")) {
      CHECK(vocabulary->decode(without_special(*vocabulary, ids)) == one["text_skip_special"].get<std::string>());
    }
  }
}

// Random pre-tokenizers, added tokens and texts, each field in place of one of LLaDA's.
TEST_CASE("whatever steps and added tokens a file has, texts are encoded as by the tokenizers library") {
  const json expected = read_json(fixtures / "tokenizers/random_cases.json");
  json file = read_json(fixtures / expected["base"].get<std::string>());
  file["post_processor"] = nullptr;
  for (const json& one : expected["tokenizers"]) {
    for (const char* part : {"added_tokens", "normalizer", "pre_tokenizer"}) {
      file[part] = one[part];
    }
    file["model"]["ignore_merges"] = one["ignore_merges"];
    const auto vocabulary = demask::read_tokenizer_json(file.dump(), "tokenizer.json");
    CAPTURE(one["added_tokens"].dump(), one["normalizer"].dump(), one["pre_tokenizer"].dump());
    for (const json& encoded : one["cases"]) {
      const std::string text = encoded["text"];
      CAPTURE(text);
      CHECK(vocabulary->encode(text, true).ids == encoded["ids"].get<Ids>());
    }
  }
}

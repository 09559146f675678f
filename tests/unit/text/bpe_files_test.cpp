#include "text/bpe_files.h"

#include <memory>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/process.h"
#include "tests/unit/text/small_tokenizer.h"
#include "text/read_vocabulary.h"

using Catch::Matchers::ContainsSubstring;
using namespace demask;
using namespace demask::testing;
using Ids = std::vector<int64_t>;

namespace {

std::string base64(const std::string& bytes) {
  constexpr const char* digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k) {
      bits = bits << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0);
    }
    for (size_t k = 0; k < 4; ++k) {
      text += i + k > bytes.size() ? '=' : digits[bits >> (18 - 6 * k) & 63U];
    }
  }
  return text;
}

// The 256 bytes by their value, then "ab" and "abc".
std::string ranks() {
  std::string lines;
  for (int byte = 0; byte < 256; ++byte) {
    lines += base64(std::string(1, static_cast<char>(byte))) + " " + std::to_string(byte) + "\n";
  }
  return lines + base64("ab") + " 256\n" + base64("abc") + " 257\n";
}

std::string refusal(const TemporaryFolder& folder) {
  return bad_input_message([&] { read_vocabulary(folder.path()); });
}

}  // namespace

TEST_CASE("a rank file's ids are its ranks") {
  const TemporaryFolder folder;
  write_file(folder / "small.tiktoken", ranks());
  const auto vocabulary = read_vocabulary(folder.path());
  CHECK(vocabulary->size() == 258);
  CHECK(vocabulary->encode("abcab c\u00E9").ids == Ids{257, 256, ' ', 'c', 0xC3, 0xA9});
  CHECK(vocabulary->decode({0xC3, 257}) == "\uFFFDabc");
}

TEST_CASE("a rank file of GPT-2's pieces encodes as GPT-2, with its end of text") {
  const std::string source = DEMASK_SOURCE_DIR;
  const auto gpt2 = read_vocabulary(source + "/data/gpt2");
  std::string lines;
  for (int64_t id = 0; id < 50256; ++id) {
    lines += base64(std::string(gpt2->piece(id))) + " " + std::to_string(id) + "\n";
  }
  const TemporaryFolder folder;
  write_file(folder / "gpt2.tiktoken", lines);
  const auto vocabulary = read_vocabulary(folder.path());
  CHECK(vocabulary->size() == 50257);
  CHECK(vocabulary->end_of_text() == 50256);
  const std::string text = read_file(source + "/README.md");
  CHECK(vocabulary->encode(text).ids == gpt2->encode(text).ids);
}

TEST_CASE("damaged rank files are refused by line") {
  const TemporaryFolder folder;
  for (const char* wrong : {"!!!!", "YWI", "YWIYW", "YWI=====", "Y===", "===="}) {
    CAPTURE(wrong);
    write_file(folder / "x.tiktoken", ranks() + wrong + " 258\n");
    CHECK_THAT(refusal(folder), ContainsSubstring("line 259 is not a piece in base64"));
  }
  write_file(folder / "x.tiktoken", ranks() + base64("b") + " 258\n");
  CHECK_THAT(refusal(folder), ContainsSubstring("'b' has two ids"));
  write_file(folder / "x.tiktoken", ranks() + base64("bb") + " 99999999999\n");
  CHECK_THAT(refusal(folder), ContainsSubstring("ids are 0 to"));
}

TEST_CASE("vocab.json takes its merges, added tokens and class from the files beside it") {
  const TemporaryFolder folder;
  write_file(folder / "vocab.json", small_tokenizer()["model"]["vocab"].dump());
  CHECK_THAT(bad_input_message([&] { read_vocabulary(folder / "vocab.json"); }), ContainsSubstring("merges.txt"));
  write_file(folder / "merges.txt", "#version: 0.2\r\na b\r\nab c\r\n\r\n");
  write_file(folder / "added_tokens.json", R"({"<s>": 300, "<t>": 301})");
  write_file(folder / "special_tokens_map.json", R"({"mask_token": "<s>"})");
  const auto vocabulary = read_vocabulary(folder.path());
  CHECK(vocabulary->encode("abc<s><t>").ids == Ids{257, '<', 's', '>', 301});
  CHECK(vocabulary->encode("abc<s><t>", true).ids == Ids{257, 300, 301});
  CHECK(vocabulary->mask_token_id() == 300);
  write_file(folder / "tokenizer_config.json", R"({"tokenizer_class": "Qwen2TokenizerFast"})");
  CHECK(read_vocabulary(folder.path())->encode("e\u0301").ids == Ids{0xC3, 0xA9});
  write_file(folder / "tokenizer_config.json", R"({"tokenizer_class": "ClipTokenizer"})");
  CHECK_THAT(refusal(folder), ContainsSubstring("'ClipTokenizer'") && ContainsSubstring("Qwen2Tokenizer"));
}

TEST_CASE("merges.txt alone numbers its pieces as GPT-2 does") {
  const TemporaryFolder folder;
  write_file(folder / "merges.txt", "#version: 0.2\na b\nab c\n");
  const auto vocabulary = read_vocabulary(folder.path());
  CHECK(vocabulary->size() == 259);
  CHECK(vocabulary->encode("abc!").ids == Ids{257, 0});
  CHECK(vocabulary->end_of_text() == 258);
  write_file(folder / "merges.txt", "#version: 0.2\nab c\n");
  CHECK_THAT(refusal(folder), ContainsSubstring("merge 1 joins 'ab' and 'c', but 'ab' is no piece"));
  write_file(folder / "merges.txt", "#version: 0.2\nabc\n");
  CHECK_THAT(refusal(folder), ContainsSubstring("is not two pieces"));
}

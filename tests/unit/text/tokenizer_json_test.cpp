#include "text/tokenizer_json.h"

#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/fuzz_inputs.h"
#include "tests/support/process.h"
#include "tests/unit/text/small_tokenizer.h"
#include "text/read_vocabulary.h"

using Catch::Matchers::ContainsSubstring;
using namespace demask;
using namespace demask::testing;
using nlohmann::json;
using Ids = std::vector<int64_t>;

namespace {

std::unique_ptr<Vocabulary> read(const json& file) {
  const TemporaryFolder folder;
  write_file(folder / "any name", file.dump());
  return read_vocabulary(folder / "any name");
}

std::string refusal(const json& file) {
  const std::string message = bad_input_message([&] { read(file); });
  CHECK_THAT(message, ContainsSubstring("/any name'") || ContainsSubstring("regular expression"));
  return message;
}

// The small tokenizer with another value at `pointer`.
json with(const std::string& pointer, const json& value) {
  json file = small_tokenizer();
  file[json::json_pointer(pointer)] = value;
  return file;
}

json with_tokens(const std::vector<json>& tokens) {
  return with("/added_tokens", tokens);
}

}  // namespace

TEST_CASE("merges are strings or pairs, and go by their rank") {
  CHECK(read(small_tokenizer())->encode("abcab c").ids == Ids{257, 256, ' ', 'c'});
  CHECK(read(with("/model/merges", json::parse(R"([["a", "b"], ["ab", "c"]])")))->encode("abc").ids == Ids{257});
  CHECK(read(with("/model/merges", {"a b"}))->encode("abc").ids == Ids{256, 'c'});
}

TEST_CASE("a word that is a piece is that piece where merges are ignored") {
  json file = with("/model/merges", {"a b"});
  file["model"]["ignore_merges"] = true;
  CHECK(read(file)->encode("abc").ids == Ids{257});
  CHECK(read(file)->encode("abcd").ids == Ids{256, 'c', 'd'});
}

TEST_CASE("a space goes in front of a text that has none, where the file says so") {
  const auto vocabulary = read(with("/pre_tokenizer/add_prefix_space", true));
  CHECK(vocabulary->encode("ab").ids == Ids{' ', 256});
  CHECK(vocabulary->encode(" ab").ids == Ids{' ', 256});
  CHECK(vocabulary->encode("").ids.empty());
}

TEST_CASE("digits are cut off, one by one or together") {
  json file = small_tokenizer();
  file["model"]["vocab"]["11"] = 258;
  file["model"]["merges"] = {"1 1"};
  const auto ids = [&](bool individual) {
    file["pre_tokenizer"] = {{"type", "Sequence"},
                             {"pretokenizers",
                              {{{"type", "Digits"}, {"individual_digits", individual}},
                               {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
    return read(file)->encode("a11").ids;
  };
  CHECK(ids(true) == Ids{'a', '1', '1'});
  CHECK(ids(false) == Ids{'a', 258});
}

TEST_CASE("texts are composed where the normalizer is NFC") {
  const Ids composed = {0xC3, 0xA9};
  CHECK(read(with("/normalizer", {{"type", "NFC"}}))->encode("e\u0301").ids == composed);
  CHECK(
      read(with("/normalizer", {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}}}}))->encode("e\u0301").ids ==
      composed);
  CHECK(read(small_tokenizer())->encode("e\u0301").ids == Ids{'e', 0xCC, 0x81});
}

TEST_CASE("what a file asks for and demask does not do is named") {
  const auto type = [](const char* name) { return json{{"type", name}}; };
  CHECK_THAT(refusal(with("/model/type", "Unigram")), ContainsSubstring("its model is 'Unigram'"));
  CHECK_THAT(refusal(with("/model", json::parse(R"({"type": "Unigram", "vocab": [["a", -1.5]]})"))),
             ContainsSubstring("'Unigram'"));
  CHECK_THAT(refusal(with("/model/type", "WordPiece")), ContainsSubstring("'WordPiece'"));
  CHECK_THAT(refusal(with("/normalizer", type("Lowercase"))), ContainsSubstring("its normalizer is 'Lowercase'"));
  CHECK_THAT(refusal(with("/pre_tokenizer", type("Whitespace"))),
             ContainsSubstring("its pre-tokenizer is 'Whitespace'") && ContainsSubstring("it knows ByteLevel"));
  CHECK_THAT(refusal(with("/pre_tokenizer", nullptr)), ContainsSubstring("its pre-tokenizer is 'none'"));
  CHECK_THAT(refusal(with("/pre_tokenizer", type("Digits"))), ContainsSubstring("not ByteLevel"));
  CHECK_THAT(refusal(with("/decoder", type("Metaspace"))), ContainsSubstring("its decoder is 'Metaspace'"));
  CHECK_THAT(refusal(with("/decoder", nullptr)), ContainsSubstring("its decoder is 'none'"));
  CHECK_THAT(refusal(with("/model/dropout", 0.1)), ContainsSubstring("'dropout'"));
  CHECK_THAT(refusal(with("/model/end_of_word_suffix", "</w>")), ContainsSubstring("'end_of_word_suffix'"));
  const json after = {{"type", "Sequence"}, {"pretokenizers", {small_tokenizer()["decoder"], type("Digits")}}};
  CHECK_THAT(refusal(with("/pre_tokenizer", after)), ContainsSubstring("ByteLevel is followed by 'Digits'"));
  json split = {{"type", "Split"}, {"pattern", {{"Regex", "a"}}}, {"behavior", "Sometimes"}};
  CHECK_THAT(refusal(with("/pre_tokenizer", split)), ContainsSubstring("'behavior' of its Split is \"Sometimes\""));
  split["pattern"] = {{"Regex", "["}};
  split["behavior"] = "Isolated";
  CHECK_THAT(refusal(with("/pre_tokenizer", split)), ContainsSubstring("'[' cannot be read"));
}

TEST_CASE("bytes without a piece are unknown, and a stand-in for them is refused") {
  json file = small_tokenizer();
  file["model"]["vocab"].erase("z");
  const auto encoding = read(file)->encode("az\u00E9z");
  CHECK(encoding.ids == Ids{'a', 0xC3, 0xA9});
  CHECK(encoding.unknown == std::vector<std::string>{"z"});
  file["model"]["byte_fallback"] = true;
  CHECK_THAT(refusal(file), ContainsSubstring("some bytes have no piece"));
}

TEST_CASE("files that contradict themselves are refused") {
  CHECK_THAT(refusal(with("/model/vocab/x", 97)), ContainsSubstring("two pieces have the id 97"));
  CHECK_THAT(refusal(with("/model/vocab/x", -1)), ContainsSubstring("id -1"));
  CHECK_THAT(refusal(with("/model/vocab/x", 1e30)), ContainsSubstring("has a number where an id belongs"));
  CHECK_THAT(refusal(with("/model/vocab/x", int64_t{1} << 50)), ContainsSubstring("ids are 0 to"));
  CHECK_THAT(refusal(with("/model/merges", {"a nonsense"})),
             ContainsSubstring("'anonsense' is no piece") || ContainsSubstring("'nonsense' is no piece"));
  CHECK_THAT(refusal(with("/model/merges", {"a c"})), ContainsSubstring("merge 1 joins 'a' and 'c', but 'ac' is no"));
  CHECK_THAT(refusal(with("/model/merges", {"abc"})), ContainsSubstring("is not two pieces"));
  CHECK_THAT(refusal(with("/model/merges", json::parse(R"([["a"]])"))), ContainsSubstring("less than two"));
  CHECK_THAT(refusal(with("/model/merges", {1})), ContainsSubstring("'merges' has a number"));
  CHECK_THAT(refusal(with_tokens({added_token(97, "<x>")})), ContainsSubstring("two pieces have the id 97"));
  CHECK_THAT(refusal(with_tokens({added_token(300, "ab")})),
             ContainsSubstring("has the id 300, but the vocabulary has"));
  CHECK_THAT(refusal(with_tokens({{{"id", 300}}})), ContainsSubstring("no 'content'"));
  CHECK_THAT(refusal(with("/added_tokens", {7})), ContainsSubstring("'added_tokens' has a number"));
  CHECK_THAT(refusal(with("/model/ignore_merges", "yes")), ContainsSubstring("'ignore_merges' is a string"));
  CHECK_THAT(refusal(with("/normalizer", 3)), ContainsSubstring("its normalizer has no 'type'"));
}

TEST_CASE("ids may have gaps, and a gap has no text") {
  const auto vocabulary = read(with_tokens({added_token(400, "<x>")}));
  CHECK(vocabulary->size() == 401);
  CHECK_FALSE(vocabulary->has_text(300));
  CHECK(vocabulary->decode({'a', 300, 400, 500}) == "a[UNK]<x>[UNK]");
}

TEST_CASE("roles come from the files beside it, else from the usual names of special tokens") {
  json file = small_tokenizer();
  file["added_tokens"] = {added_token(300, "<|mask|>"), added_token(301, "<|endoftext|>"), added_token(302, "<end>")};
  file["added_tokens"][0]["special"] = file["added_tokens"][1]["special"] = true;
  CHECK(read(file)->mask_token_id() == 300);
  CHECK(read(file)->end_of_text() == 301);
  const TemporaryFolder folder;
  write_file(folder / "tokenizer.json", file.dump());
  write_file(folder / "tokenizer_config.json", R"({"eos_token": {"content": "<end>"}, "mask_token": null})");
  CHECK(read_vocabulary(folder.path())->end_of_text() == 302);
  write_file(folder / "tokenizer_config.json", "[");
  CHECK_THAT(bad_input_message([&] { read_vocabulary(folder.path()); }),
             ContainsSubstring("tokenizer_config.json': it cannot be read as JSON"));
}

TEST_CASE("a file nested deep, cut short, or with too much in it is refused") {
  const auto text_refusal = [](const std::string& content) {
    const TemporaryFolder folder;
    write_file(folder / "tokenizer.json", content);
    return bad_input_message([&] { read_vocabulary(folder.path()); });
  };
  CHECK_THAT(text_refusal(R"({"model": {"x": )" + std::string(100'000, '[')), ContainsSubstring("nests too deep"));
  CHECK_THAT(text_refusal(small_tokenizer().dump().substr(0, 500)), ContainsSubstring("cannot be read as JSON"));
  std::string many = R"({"model": {"x": [0)";
  for (int i = 0; i < 300'000; ++i) {
    many += ",0";
  }
  CHECK_THAT(text_refusal(many + "]}}"), ContainsSubstring("more than 200000 values"));
  CHECK_THAT(text_refusal(R"({"model": {}})"), ContainsSubstring("'without a type'"));
  CHECK_THAT(text_refusal(R"({"version": "1.0", "model": "x", "added_tokens": []})"),
             ContainsSubstring("no object 'model'"));
}

TEST_CASE("a million added tokens are read and found") {
  std::string tokens;
  for (int i = 0; i < 1'000'000; ++i) {
    tokens += fmt::format(R"({}{{"id":{},"content":"<{}>"}})", i == 0 ? "" : ",", 300 + i, i);
  }
  std::string content = small_tokenizer().dump();
  const std::string empty = R"("added_tokens":[])";
  content.replace(content.find(empty), empty.size(), R"("added_tokens":[)" + tokens + "]");
  const TemporaryFolder folder;
  write_file(folder / "tokenizer.json", content);
  const auto vocabulary = read_vocabulary(folder.path());
  CHECK(vocabulary->size() == 1'000'300);
  CHECK(vocabulary->encode("<7><77><999999><1000000>").ids ==
        Ids{307, 377, 1'000'299, '<', '1', '0', '0', '0', '0', '0', '0', '>'});
}

TEST_CASE("a pattern that backtracks for ever is an error of the text it is used on") {
  const json split = {{"type", "Split"}, {"pattern", {{"Regex", "(a+)+[bc]"}}}, {"behavior", "Isolated"}};
  const auto vocabulary =
      read(with("/pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {split, small_tokenizer()["decoder"]}}}));
  CHECK(vocabulary->encode("aab").ids == Ids{'a', 256});
  CHECK_THAT(bad_input_message([&] { vocabulary->encode(std::string(2000, 'a')); }),
             ContainsSubstring("'(a+)+[bc]' takes too long"));
}

TEST_CASE("long texts and words cost no more than n log n") {
  const auto vocabulary = read(small_tokenizer());
  std::string text;
  for (const char* part : {"ab", " ", "abc ", "1"}) {
    text.clear();
    while (text.size() < 1'000'000) {
      text += part;
    }
    CHECK(vocabulary->bytes(vocabulary->encode(text).ids) == text);
  }
}

TEST_CASE("every tokenizer of the fuzzers is read or refused") {
  const std::vector<std::string> paths = fuzz_inputs("tokenizer");
  CHECK(paths.size() >= 5);
  for (const std::string& path : paths) {
    CAPTURE(path);
    succeeds_or_reports([&] { read_vocabulary(path)->encode("the <|x|> 1"); });
  }
}

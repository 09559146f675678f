#include "text/meta_file.h"

#include <memory>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/pickled.h"
#include "tests/support/process.h"
#include "text/read_vocabulary.h"

using Catch::Matchers::ContainsSubstring;
using demask::read_vocabulary;
using demask::Vocabulary;
using namespace demask::testing;
using namespace demask::testing::pickled;
using Ids = std::vector<int64_t>;

namespace {

const std::string source = DEMASK_SOURCE_DIR;

// Writes `content` as a file without a telling name and reads it.
std::unique_ptr<Vocabulary> read(const std::string& content) {
  const TemporaryFolder folder;
  write_file(folder / "meta", content);
  return demask::read_vocabulary(folder / "meta");
}

std::string refusal(const std::string& content) {
  const std::string message = bad_input_message([&] { read(content); });
  CHECK_THAT(message, ContainsSubstring("/meta'"));
  return message;
}

std::string pickled_meta(const std::vector<std::pair<std::string, std::string>>& entries) {
  return document(object(entries));
}

}  // namespace

TEST_CASE("the repository's vocabularies hold the characters of tiny Shakespeare in order") {
  const std::string letters = "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  const std::string dataset = GENERATE("shakespeare_char", "char_diffusion");
  const auto vocabulary = read_vocabulary(source + "/data/" + dataset + "/meta.pkl");
  REQUIRE(vocabulary->size() == 65);
  Ids all(65);
  for (size_t i = 0; i < all.size(); ++i) {
    all[i] = static_cast<int64_t>(i);
  }
  CHECK(vocabulary->decode(all) == letters);
  CHECK(vocabulary->encode(letters).ids == all);
  CHECK(vocabulary->mask_token_id() == (dataset == "char_diffusion" ? std::optional<int64_t>(65) : std::nullopt));
}

TEST_CASE("meta.pkl is read in every protocol, with tokens of any UTF-8") {
  const std::string protocol = GENERATE("2", "3", "4", "5");
  const auto vocabulary = read_vocabulary(source + "/tests/fixtures/vocabularies/meta_protocol" + protocol + ".pkl");
  CHECK(vocabulary->size() == 7);
  CHECK(vocabulary->mask_token_id() == 7);
  CHECK(vocabulary->decode({3, 4, 5, 6}) == "é漢🙂the");
}

TEST_CASE("itos may be a list or a dict, in a pickle or in JSON, told apart by content") {
  const std::string content = GENERATE(
      as<std::string>(), pickled_meta({{"itos", list({text("a"), text("b")})}}),
      pickled_meta({{"itos", dict({{integer(1), text("b")}, {integer(0), text("a")}})}}), R"({"itos": ["a", "b"]})",
      R"( {"itos": {"1": "b", "0": "a"}, "stoi": {"a": 0, "b": 1}, "mask_token_id": null})");
  const auto vocabulary = read(content);
  CHECK(vocabulary->size() == 2);
  CHECK(vocabulary->decode({0, 1}) == "ab");
  CHECK_FALSE(vocabulary->mask_token_id());
}

TEST_CASE("the mask token of the file is kept") {
  CHECK(read(R"({"itos": ["a"], "mask_token_id": 4})")->mask_token_id() == 4);
  CHECK(read(pickled_meta({{"itos", list({text("a")})}, {"mask_token_id", integer(4)}}))->mask_token_id() == 4);
}

TEST_CASE("a file without itos is refused and its keys are named, also where it has stoi") {
  CHECK_THAT(refusal(R"({"stoi": {"a": 0}, "vocab_size": 1})"),
             ContainsSubstring("has no 'itos'") && ContainsSubstring("'stoi', 'vocab_size'"));
  CHECK_THAT(refusal(pickled_meta({{"stoi", object({{"a", integer(0)}})}})),
             ContainsSubstring("has no 'itos'") && ContainsSubstring("'stoi'"));
  CHECK_THAT(refusal(R"({"itos": []})"), ContainsSubstring("'itos' is empty"));
}

TEST_CASE("ids that no vocabulary has are refused") {
  const auto with_id = [](int64_t id) { return pickled_meta({{"itos", dict({{integer(id), text("a")}})}}); };
  CHECK_THAT(refusal(with_id(-1)), ContainsSubstring("'itos' has the id -1"));
  CHECK_THAT(refusal(with_id(int64_t{1} << 50)), ContainsSubstring("'itos' has the id 1125899906842624"));
  CHECK_THAT(refusal(pickled_meta({{"itos", dict({{text("0"), text("a")}})}})),
             ContainsSubstring("'itos' has the string '0'"));
  CHECK_THAT(refusal(R"({"itos": {"zero": "a"}})"), ContainsSubstring("the key 'zero', which is not an integer"));
  CHECK_THAT(refusal(R"({"itos": {"99999999999999999999": "a"}})"), ContainsSubstring("is not an integer"));
  CHECK_THAT(refusal(R"({"itos": ["a"], "mask_token_id": -3})"), ContainsSubstring("'mask_token_id' is -3"));
}

TEST_CASE("a token of absurd length is refused, also where a pickle shares it between all ids") {
  const std::string shared = text(std::string(1'000'000, 'x')) + "q\x01";
  std::string itos = "](" + shared;
  for (int i = 0; i < 1'000'000; ++i) {
    itos += "h\x01";
  }
  CHECK_THAT(refusal(pickled_meta({{"itos", itos + "e"}})), ContainsSubstring("the text of id 0 has 1000000 bytes"));
}

TEST_CASE("itos and stoi that disagree are refused") {
  CHECK_THAT(refusal(R"({"itos": ["a", "b"], "stoi": {"a": 1, "b": 0}})"),
             ContainsSubstring("'itos' and 'stoi' disagree"));
  CHECK_THAT(refusal(R"({"itos": ["a"], "stoi": {"b": 7}})"), ContainsSubstring("'stoi' has 'b' for the id 7"));
}

TEST_CASE("values of the wrong type are refused by name") {
  CHECK_THAT(refusal(pickled_meta({{"itos", list({integer(1)})}})), ContainsSubstring("'itos' has the integer 1"));
  CHECK_THAT(refusal(pickled_meta({{"itos", call(global("posix", "system"), {text("id")})}})),
             ContainsSubstring("'posix.system'"));
  CHECK_THAT(refusal(document(call(global("posix", "system"), {text("id")}))),
             ContainsSubstring("it is a call of 'posix.system'"));
  CHECK_THAT(refusal(R"({"itos": [1]})"), ContainsSubstring("'itos' has a number"));
  CHECK_THAT(refusal(R"({"itos": "abc"})"), ContainsSubstring("'itos' is a string"));
  CHECK_THAT(refusal(R"({"itos": ["a"], "stoi": {"a": "0"}})"), ContainsSubstring("'stoi' has a string"));
  CHECK_THAT(refusal(R"(["a"])"), ContainsSubstring("is a JSON array"));
}

TEST_CASE("what is neither a pickle nor JSON, and what is not UTF-8, is refused") {
  CHECK_THAT(refusal("To be"), ContainsSubstring("neither a pickle nor JSON"));
  CHECK_THAT(refusal("{\"itos\": [\"\xff\"]}"), ContainsSubstring("UTF-8"));
  CHECK_THAT(refusal(pickled_meta({{"itos", list({text("\xed\xa0\x80")})}})),
             ContainsSubstring("the text of id 0 is not UTF-8"));
  CHECK_THAT(refusal("\x80\x04"), ContainsSubstring("cannot read the pickle"));
  CHECK_THAT(refusal(std::string(100'000, '[')), ContainsSubstring("nests too deep"));
}

TEST_CASE("ids and texts that NumPy made are read") {
  const auto scalar = [](const std::string& dtype, const std::string& bytes) {
    const std::string type = call(global("numpy", "dtype"), {text(dtype), boolean(false), boolean(true)}) +
                             tuple({integer(3), text("<"), none()}) + "b";
    return call(global("numpy._core.multiarray", "scalar"), {type, "C" + little_endian(bytes.size(), 1) + bytes});
  };
  const std::string zero = scalar("i8", std::string(8, '\0')), letter = scalar("U1", "\xe9\0\0\0"s);
  const auto vocabulary = read(pickled_meta(
      {{"itos", dict({{zero, letter}})}, {"stoi", dict({{letter, zero}})}, {"mask_token_id", scalar("i2", "\1\0"s)}}));
  CHECK(vocabulary->decode({0}) == "é");
  CHECK(vocabulary->mask_token_id() == 1);
}

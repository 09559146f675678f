#include "app/work_list.h"

#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <sstream>
#include <streambuf>
#include <string>
#include <vector>

#include "core/error.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/fuzz_inputs.h"
#include "tests/support/process.h"

using namespace demask;
using Catch::Matchers::ContainsSubstring;
using demask::testing::bad_input_message;
using demask::testing::TemporaryFolder;
using demask::testing::write_file;

namespace {

PromptList read(const std::string& text, bool is_json, bool skip_bad = false) {
  std::istringstream in(text);
  return read_work_list(in, "list", is_json, skip_bad);
}

PromptList read_text(const std::string& text, bool skip_bad = false) {
  return read(text, false, skip_bad);
}

PromptList read_json(const std::string& text, bool skip_bad = false) {
  return read(text, true, skip_bad);
}

std::vector<std::string> start_texts(const PromptList& list) {
  std::vector<std::string> texts;
  for (const Prompt& item : list.prompts) {
    texts.push_back(item.start_text.value());
  }
  return texts;
}

// Why a line is left out after a good one, which must stay.
std::string reason(const std::string& line, bool is_json) {
  const PromptList list =
      read((is_json ? "{\"id\": \"good\", \"start_text\": \"\"}\n" : "good\n") + line, is_json, true);
  CHECK(list.prompts.size() == 1);
  if (list.bad_lines.size() != 1) {
    return "no bad line";
  }
  CHECK(list.bad_lines[0].line == 2);
  return list.bad_lines[0].reason;
}

std::string json_reason(const std::string& line) {
  return reason(line, true);
}

// A key with a value, in an object that has all else a prompt needs.
std::string with(const std::string& key, const std::string& value) {
  return R"({"id": 1, "start_text": "a", ")" + key + "\": " + value + "}";
}

using Texts = std::vector<std::string>;

// Many equal bytes that are never in memory together, then the rest.
class VeryLongLine : public std::streambuf {
 public:
  VeryLongLine(size_t bytes, std::string rest) : left_(bytes), rest_(std::move(rest)), filler_(4096, 'x') {}

 protected:
  int_type underflow() override {
    if (left_ > 0) {
      const size_t count = std::min(left_, filler_.size());
      left_ -= count;
      setg(filler_.data(), filler_.data(), filler_.data() + count);
    } else if (!rest_given_ && !rest_.empty()) {
      rest_given_ = true;
      setg(rest_.data(), rest_.data(), rest_.data() + rest_.size());
    } else {
      return traits_type::eof();
    }
    return traits_type::to_int_type(*gptr());
  }

 private:
  size_t left_;
  std::string rest_;
  std::string filler_;
  bool rest_given_ = false;
};

// What a disk does that fails midway.
class Failing : public std::streambuf {
 public:
  Failing() { setg(text_.data(), text_.data(), text_.data() + text_.size()); }

 protected:
  int_type underflow() override { throw std::ios_base::failure("lost"); }

 private:
  std::string text_ = "one\ntwo";
};

// Standard input, for as long as this lives.
class Input {
 public:
  explicit Input(const std::string& text) : stream_(text), own_(std::cin.rdbuf(stream_.rdbuf())) { std::cin.clear(); }
  ~Input() {
    std::cin.rdbuf(own_);
    std::cin.clear();
  }
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

 private:
  std::istringstream stream_;
  std::streambuf* own_;
};

}  // namespace

// ---- text

TEST_CASE("Each line of a text is a prompt whose id is its line number") {
  const PromptList list = read_text("To be\n  or not  \nFILE:x");
  CHECK(start_texts(list) == Texts{"To be", "  or not  ", "FILE:x"});
  for (size_t i = 0; i < 3; ++i) {
    const Prompt& item = list.prompts.at(i);
    CHECK(item.line == static_cast<int64_t>(i) + 1);
    CHECK(item.id == std::to_string(i + 1));
    CHECK_FALSE((item.infill_text || item.num_samples || item.seed || item.max_new_tokens || item.sequence_length));
  }
}

TEST_CASE("An empty line of a text is an empty prompt, and a last newline adds none") {
  CHECK(start_texts(read_text("a\n\nb\n")) == Texts{"a", "", "b"});
  CHECK(start_texts(read_text("a\n\n")) == Texts{"a", ""});
  CHECK(start_texts(read_text("\n")) == Texts{""});
}

TEST_CASE("Line ends of Windows and a byte order mark are no part of a prompt") {
  CHECK(start_texts(read_text("\xEF\xBB\xBFone\r\ntwo\r\n\r\nb\rc\r\r\nlast\r")) ==
        Texts{"one", "two", "", "b\rc\r", "last\r"});
  const PromptList list = read_json("\xEF\xBB\xBF{\"id\": 1, \"start_text\": \"a\"}\r\n\r\n");
  CHECK(start_texts(list) == Texts{"a"});
  CHECK(start_texts(read_text("a\n\xEF\xBB\xBF")) == Texts{"a", "\xEF\xBB\xBF"});  // only at the start it is a mark
}

TEST_CASE("A NUL byte in a text is refused") {
  CHECK_THAT(reason(std::string("a\0b", 3), false), ContainsSubstring("NUL byte: is this a text file?"));
}

TEST_CASE("Lines that lie across the reader's pieces come out whole") {
  for (const size_t length : {65534U, 65535U, 65536U, 65537U, 131072U}) {
    for (const std::string end : {"\n", "\r\n"}) {
      const std::string line(length, 'x');
      const PromptList list = read_text(line + end + "b" + end + line);
      CHECK((start_texts(list) == Texts{line, "b", line}));
    }
  }
}

// ---- JSON lines

TEST_CASE("A JSON line gives all that a prompt can have") {
  const PromptList list = read_json(
      R"({"id": "a\u00e9", "start_text": "\u0000\n\"", "num_samples": 1000000000, "seed": 9223372036854775807,)"
      R"( "max_new_tokens": 1, "sequence_length": 512})"
      "\n"
      R"( {"infill_text":"a##","id":-17,"seed":0} )");
  REQUIRE(list.prompts.size() == 2);
  const Prompt& first = list.prompts[0];
  CHECK(first.line == 1);
  CHECK(first.id == "\"aé\"");
  CHECK((first.start_text == std::string("\0\n\"", 3)));
  CHECK_FALSE(first.infill_text);
  CHECK(first.num_samples == 1000000000);
  CHECK(first.seed == INT64_MAX);
  CHECK(first.max_new_tokens == 1);
  CHECK(first.sequence_length == 512);
  const Prompt& second = list.prompts[1];
  CHECK(second.line == 2);
  CHECK(second.id == "-17");
  CHECK_FALSE(second.start_text);
  CHECK(second.infill_text == "a##");
  CHECK(second.seed == 0);
  CHECK_FALSE((second.num_samples || second.max_new_tokens || second.sequence_length));
}

TEST_CASE("Blank lines between JSON lines count for nothing but their number") {
  const PromptList list = read_json("\n  \n\t\r\n{\"id\": 1, \"start_text\": \"\"}\n\n");
  REQUIRE(list.prompts.size() == 1);
  CHECK(list.prompts[0].line == 4);
  CHECK(list.bad_lines.empty());
}

TEST_CASE("A list of ids is a prompt, an empty one too") {
  const PromptList list = read_json(
      "{\"id\": 1, \"tokens\": [17, 0, 1000000000], \"seed\": 3}\n"
      "{\"tokens\":[],\"id\":2,\"sequence_length\":8}");
  REQUIRE(list.prompts.size() == 2);
  CHECK(list.prompts[0].tokens == std::vector<int64_t>{17, 0, 1000000000});
  CHECK_FALSE((list.prompts[0].start_text || list.prompts[0].infill_text));
  CHECK(list.prompts[0].seed == 3);
  CHECK(list.prompts[1].tokens == std::vector<int64_t>{});
  CHECK(list.prompts[1].sequence_length == 8);
}

TEST_CASE("What is no list of ids is refused with the place in it") {
  const std::string allowed = "must be a list of ids, whole numbers from 0 to 1000000000";
  const auto tokens = [](const std::string& value) { return json_reason(R"({"id": 1, "tokens": )" + value + "}"); };
  for (const std::string value : {"5", "\"5\"", "null", "true", "1.5"}) {
    CHECK(tokens(value) == "tokens = " + value + ": " + allowed);
  }
  CHECK(tokens("{}") == "tokens = {...}: " + allowed);
  for (const std::string value : {"-1", "1.0", "1000000001", "99999999999999999999", "\"7\"", "null", "false"}) {
    CHECK(tokens("[3, 4, " + value + ", 5]") == "tokens[2] = " + value + ": " + allowed);
  }
  CHECK(tokens("[[1]]") == "tokens[0] = [...]: " + allowed);
  CHECK(tokens("[1, {\"id\": 2}]") == "tokens[1] = {...}: " + allowed);
  CHECK_THAT(tokens("[1, 2"), ContainsSubstring("not valid JSON"));
  CHECK(json_reason(R"({"id": 1, "tokens": [1], "tokens": [2]})") == "tokens is given twice");
  CHECK_THAT(tokens(std::string(1000000, '[')), ContainsSubstring("tokens[0] = [...]: "));
}

TEST_CASE("An empty start_text is a prompt, neither text nor both is none") {
  CHECK(start_texts(read_json(R"({"id": 1, "start_text": ""})")) == Texts{""});
  CHECK_THAT(json_reason(R"({"id": 1})"),
             ContainsSubstring("none of start_text, which may be empty, infill_text, infill and tokens"));
  CHECK_THAT(json_reason(R"({"id": 1, "start_text": "", "infill_text": "#"})"),
             ContainsSubstring("start_text and infill_text: give one of them"));
  CHECK(json_reason(R"({"id": 1, "start_text": "", "tokens": []})") == "start_text and tokens: give one of them");
  CHECK(json_reason(R"({"id": 1, "tokens": [1], "infill_text": "#"})") == "infill_text and tokens: give one of them");
}

TEST_CASE("A template in parts has texts, gaps and masks, in any place") {
  const PromptList list =
      read_json(R"({"infill": [{"gap": [4, 12]}, "#, ", {"masks": 8}, "", {"gap":[1,1]}], "id": 1, "seed": 3})");
  const std::vector<InfillPart> parts = list.prompts.at(0).infill.value();
  REQUIRE(parts.size() == 5);
  CHECK((parts[0].text.empty() && parts[0].least == 4 && parts[0].most == 12));
  CHECK((parts[1].text == "#, " && parts[1].most == 0));
  CHECK((parts[2].least == 8 && parts[2].most == 8));
  CHECK((parts[3].text.empty() && parts[3].most == 0));
  CHECK(list.prompts[0].seed == 3);
}

TEST_CASE("What is no part of a template is refused with its place") {
  const auto reason = [](const std::string& value) { return json_reason(R"({"id": 1, "infill": )" + value + "}"); };
  const std::string allowed = "must be a list of texts, {\"gap\": [least, most]} and {\"masks\": count}";
  for (const std::string value : {"5", "null", "true", "{}", "1.5"}) {
    CAPTURE(value);
    CHECK_THAT(reason(value), ContainsSubstring("infill") && ContainsSubstring(allowed));
  }
  for (const std::string part :
       {"5", "null", "[]", "{}", "1.5", R"({"gap": 3})", R"({"gap": [3]})", R"({"gap": [1, 2, 3]})",
        R"({"gap": [0, 2]})", R"({"gap": ["a", 2]})", R"({"gap": [1, 2], "masks": 3})", R"({"masks": [3]})",
        R"({"masks": -1})", R"({"masks": 99999999999999999999})", R"({"mask": 3})", R"({"gap": [[1, 2]]})",
        R"({"gap": [1, 2.5]})"}) {
    CAPTURE(part);
    CHECK_THAT(reason("[\"a\", " + part + "]"), ContainsSubstring("infill[1]: " + allowed));
  }
  CHECK_THAT(reason(R"(["a", {"gap": [1, )"), ContainsSubstring("not valid JSON"));
  CHECK(json_reason(R"({"id": 1, "infill": ["a"], "infill": []})") == "infill is given twice");
  CHECK(json_reason(R"({"id": 1, "infill": ["a"], "tokens": []})") == "infill and tokens: give one of them");
  CHECK_THAT(reason(std::string(1000000, '[')), ContainsSubstring("infill[0]: "));
}

TEST_CASE("A template with a length of its own is refused") {
  CHECK_THAT(json_reason(R"({"id": 1, "infill": ["#"], "sequence_length": 1})"),
             ContainsSubstring("both infill and sequence_length"));
  CHECK_THAT(json_reason(R"({"id": 1, "infill_text": "#", "sequence_length": 1})"),
             ContainsSubstring("both infill_text and sequence_length"));
}

TEST_CASE("A prompt without an id is refused") {
  CHECK_THAT(json_reason(R"({"start_text": "a"})"), ContainsSubstring("no id"));
  CHECK_THAT(json_reason("{}"), ContainsSubstring("no id"));
}

TEST_CASE("An unknown key is refused with the nearest and all there are") {
  const std::string message = json_reason(with("num_sample", "3"));
  CHECK_THAT(message, ContainsSubstring("unknown key \"num_sample\"; did you mean num_samples?"));
  CHECK_THAT(message, ContainsSubstring(
                          "id, start_text, infill_text, infill, tokens, pattern, num_samples, seed, max_new_tokens, "
                          "sequence_length"));
  CHECK_THAT(json_reason(with("starttext", "3")), ContainsSubstring("did you mean start_text?"));
  CHECK_THAT(json_reason(with("ID", "3")), ContainsSubstring("did you mean id?"));
  CHECK_THAT(json_reason(with("", "3")), ContainsSubstring("unknown key \"\""));
  CHECK(json_reason(with(std::string(500000, 'k'), "3")).size() < 500);
}

TEST_CASE("A key that is given twice is refused") {
  CHECK(json_reason(with("id", "1")) == "id is given twice");
  CHECK(json_reason(with("start_text", "\"a\"")) == "start_text is given twice");
  CHECK(json_reason(with("seed", R"(1, "seed": 1)")) == "seed is given twice");
}

TEST_CASE("A value of the wrong type or range is refused with the key, itself and what is allowed") {
  struct Case {
    std::string key, value, allowed;
  };
  const std::string count = "a whole number from 1 to 1000000000";
  std::vector<Case> cases;
  for (const std::string key : {"num_samples", "max_new_tokens", "sequence_length"}) {
    for (const std::string value : {"0", "-1", "1000000001", "18446744073709551615", "99999999999999999999", "3.0",
                                    "1e3", "\"3\"", "true", "null"}) {
      cases.push_back({key, value, count});
    }
  }
  for (const std::string value :
       {"-1", "9223372036854775808", "-9223372036854775808", "-99999999999999999999", "3.0", "false", "null", "\"\""}) {
    cases.push_back({"seed", value, "a whole number from 0 to 9223372036854775807"});
  }
  for (const Case& wrong : cases) {
    CHECK(json_reason(with(wrong.key, wrong.value)) == wrong.key + " = " + wrong.value + ": must be " + wrong.allowed);
  }
  CHECK(json_reason(with("seed", "[1, 2]")) == "seed = [...]: must be a whole number from 0 to 9223372036854775807");
  CHECK(json_reason(with("seed", R"({"seed": 1})")) ==
        "seed = {...}: must be a whole number from 0 to 9223372036854775807");
  CHECK(json_reason(R"({"id": 1, "start_text": 5})") == "start_text = 5: must be a text in quotes");
  CHECK(json_reason(R"({"id": 1, "infill_text": null})") == "infill_text = null: must be a text in quotes");
  for (const std::string id : {"1.0", "null", "true", "99999999999999999999"}) {
    CHECK(json_reason(R"({"start_text": "", "id": )" + id + "}") ==
          "id = " + id + ": must be a text in quotes or a whole number of 64 bits");
  }
}

TEST_CASE("A long value is not repeated whole, nor half a character of it") {
  const std::string long_text = "\"a" + std::string(1000, 'b') + "\"";
  CHECK(json_reason(with("seed", long_text)) ==
        "seed = \"a" + std::string(75, 'b') + "...: must be a whole number from 0 to 9223372036854775807");
  std::string accents = "\"";
  for (int i = 0; i < 100; ++i) {
    accents += "é";
  }
  CHECK_THAT(json_reason(with("seed", accents + "\"")), ContainsSubstring("é...: must be"));
}

TEST_CASE("An id that another prompt has is refused with that one's line") {
  const std::string one = R"({"id": 1, "start_text": "a"})";
  const std::string text_one = R"({"id": "1", "start_text": "b"})";
  CHECK(read_json(one + "\n" + text_one).prompts.size() == 2);
  const PromptList list = read_json(text_one + "\n\n" + one + "\n" + R"({"id": "\u0031", "start_text": ""})", true);
  CHECK(list.prompts.size() == 2);
  REQUIRE(list.bad_lines.size() == 1);
  CHECK(list.bad_lines[0].line == 4);
  CHECK_THAT(list.bad_lines[0].reason, ContainsSubstring("the id \"1\" is line 1's already"));
}

TEST_CASE("The id of a line that is left out is free for another") {
  const PromptList list = read_json("{\"id\": 1}\n{\"id\": 1, \"start_text\": \"\"}", true);
  CHECK(list.prompts.size() == 1);
  CHECK(list.bad_lines.size() == 1);
}

TEST_CASE("What is no JSON object is refused") {
  for (const std::string line : {"17", "\"text\"", "null", "true", "1.5"}) {
    CHECK_THAT(json_reason(line), ContainsSubstring(line + " is no JSON object such as {\"id\": 1"));
  }
  CHECK_THAT(json_reason("[1]"), ContainsSubstring("[...] is no JSON object"));
}

TEST_CASE("A line that is not JSON is refused with the parser's reason and column") {
  CHECK_THAT(json_reason(R"({"id": 1,})"), ContainsSubstring("not valid JSON: parse error at column 10: syntax error"));
  for (const std::string line :
       {"{", "}", "{]", "To be", R"({"id": 1} {"id": 2})", R"({"id": "\ud800"})", R"({'id': 1})", R"({"seed": 1e999})",
        R"({"id": 01})", "{\"id\": \"a\tb\"}", "// a remark"}) {
    CAPTURE(line);
    const std::string message = json_reason(line);
    CHECK_THAT(message, ContainsSubstring("not valid JSON: "));
    CHECK(message.find('[') != 0);
    CHECK(message.find("json.exception") == std::string::npos);
    CHECK(message.size() <= 220);
  }
  CHECK_THAT(json_reason(std::string("{\"id\": \"\0\"}", 11)), ContainsSubstring("not valid JSON: "));
  CHECK(json_reason("{\"id\": 1 " + std::string(100000, 'x')).size() <= 220);
}

TEST_CASE("A reason is UTF-8, though the parser quotes half a character") {
  const std::string message = json_reason("{é: 1}");
  CHECK_THAT(message, ContainsSubstring("not valid JSON: "));
  CHECK(read_text(message).bad_lines.empty());
}

TEST_CASE("A million brackets are refused without a stack for them") {
  CHECK_THAT(json_reason(std::string(1000000, '[')), ContainsSubstring("is no JSON object"));
  CHECK_THAT(json_reason("{\"id\": " + std::string(1000000, '[')), ContainsSubstring("id = [...]: must be"));
}

// ---- both

TEST_CASE("Bytes that are not UTF-8 are refused with where they are") {
  const std::vector<std::string> broken = {"\x80",
                                           "\xC0\x80",
                                           "\xC1\xBF",
                                           "\xC3",
                                           "\xC3(",
                                           "\xE0\x9F\xBF",
                                           "\xE2\x82",
                                           "\xED\xA0\x80",
                                           "\xF0\x8F\xBF\xBF",
                                           "\xF0\x9F\x98",
                                           "\xF4\x90\x80\x80",
                                           "\xF5\x80\x80\x80",
                                           "\xFF"};
  for (const std::string& bytes : broken) {
    CHECK_THAT(reason("aé" + bytes, false), ContainsSubstring("not UTF-8 at byte 4 of the line"));
    CHECK_THAT(json_reason("{\"id" + bytes + "oops"), ContainsSubstring("not UTF-8 at byte 5 of the line"));
  }
  const std::string extremes =
      "\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF";
  CHECK(start_texts(read_text(extremes)) == Texts{extremes});
}

TEST_CASE("A line of just the most bytes is read, one of more is refused with its length") {
  for (const std::string end : {"", "\n", "\r\n"}) {
    const PromptList list = read_text("a\n" + std::string(max_prompt_line_bytes, 'x') + end);
    REQUIRE(list.prompts.size() == 2);
    CHECK(list.prompts[1].start_text->size() == max_prompt_line_bytes);
    CHECK(reason(std::string(max_prompt_line_bytes + 1, 'x') + end, false) ==
          "the line has 1048577 bytes: at most 1048576 are allowed");
  }
  CHECK_THAT(json_reason(std::string(max_prompt_line_bytes + 1, ' ')), ContainsSubstring("at most 1048576"));
}

TEST_CASE("What follows an overlong line is read, which itself is never in memory") {
  constexpr size_t bytes = 400000000;
  VeryLongLine source(bytes, "\nnext\n");
  std::istream in(&source);
  const auto peak_kib = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
  };
  const long before = peak_kib();
  const PromptList list = read_work_list(in, "list", false, true);
  CHECK(peak_kib() - before < 16 * 1024);
  CHECK(start_texts(list) == Texts{"next"});
  CHECK(list.prompts[0].id == "2");
  REQUIRE(list.bad_lines.size() == 1);
  CHECK_THAT(list.bad_lines[0].reason, ContainsSubstring(std::to_string(bytes)));
}

TEST_CASE("A bad line is an error that names file, line, reason and what to do, or is left out") {
  const std::string text = "{\"id\": 1, \"start_text\": \"\"}\n{\"id\": 2}\n{\"id\": 3, \"start_text\": \"c\"}\n[\n";
  CHECK(bad_input_message([&] { read_json(text); }) ==
        "list:2: none of start_text, which may be empty, infill_text, infill and tokens: give one of them. Mend it, or "
        "leave "
        "such "
        "lines out with --on_error=skip.");
  const PromptList list = read_json(text, true);
  CHECK(start_texts(list) == Texts{"", "c"});
  REQUIRE(list.bad_lines.size() == 2);
  CHECK(list.bad_lines[0].line == 2);
  CHECK(list.bad_lines[1].line == 4);
}

TEST_CASE("A list without a prompt is refused by name") {
  CHECK_THAT(bad_input_message([] { read_text(""); }), ContainsSubstring("'list' has no prompts"));
  CHECK_THAT(bad_input_message([] { read_text("\xEF\xBB\xBF"); }), ContainsSubstring("has no prompts"));
  CHECK_THAT(bad_input_message([] { read_json("\n \n"); }), ContainsSubstring("has no prompts"));
  const std::string message = bad_input_message([] { read_json("\n{\n[", true); });
  CHECK_THAT(message,
             ContainsSubstring("'list' has no prompts that can be used: 2 of its lines are bad, first line 2: "));
}

TEST_CASE("A list that cannot be read to its end is refused, not cut") {
  Failing source;
  std::istream in(&source);
  CHECK_THAT(bad_input_message([&] { read_work_list(in, "list", false, false); }),
             ContainsSubstring("'list' cannot be read beyond line"));
}

TEST_CASE("A file's ending says how it is read") {
  const TemporaryFolder folder;
  const std::string line = R"({"id": "a", "start_text": "b"})";
  write_file(folder / "p.txt", line);
  write_file(folder / "p.jsonl", line);
  CHECK(start_texts(read_work_list(folder / "p.txt", false)) == Texts{line});
  CHECK(start_texts(read_work_list(folder / "p.jsonl", false)) == Texts{"b"});
  for (const std::string name : {"p.json", "p", "p.TXT", "p.txt.gz", ""}) {
    try {
      read_work_list(name, false);
      FAIL("was accepted");
    } catch (const Error& error) {
      CHECK(error.code() == ExitCode::bad_usage);
      CHECK_THAT(error.what(), ContainsSubstring("'" + name + "'"));
      CHECK_THAT(error.what(), ContainsSubstring(".jsonl"));
    }
  }
}

TEST_CASE("A bad line of a file is named by the file's path") {
  const TemporaryFolder folder;
  write_file(folder / "p.jsonl", "\n{");
  CHECK_THAT(bad_input_message([&] { read_work_list(folder / "p.jsonl", false); }),
             ContainsSubstring((folder / "p.jsonl") + ":2: not valid JSON"));
}

TEST_CASE("A file that is missing, empty or a folder is refused by name") {
  const TemporaryFolder folder;
  write_file(folder / "empty.txt", "");
  std::filesystem::create_directory(folder / "folder.txt");
  const auto message = [&](const std::string& name) {
    return bad_input_message([&] { read_work_list(folder / name, false); });
  };
  CHECK_THAT(message("missing.txt"), ContainsSubstring("not found: '" + (folder / "missing.txt") + "'"));
  CHECK_THAT(message("empty.txt"), ContainsSubstring("empty.txt' has no prompts"));
  CHECK_THAT(message("folder.txt"), ContainsSubstring("folder.txt' is a directory"));
}

TEST_CASE("Standard input is JSON lines where it begins with a brace, else text") {
  const std::string line = R"({"id": "a", "start_text": "b"})";
  const auto from_input = [](const std::string& text) {
    const Input input(text);
    return start_texts(read_work_list("-", false));
  };
  CHECK(from_input(line) == Texts{"b"});
  CHECK(from_input("\n \t\r\n " + line) == Texts{"b"});
  CHECK(from_input("\xEF\xBB\xBF" + line) == Texts{"b"});
  CHECK(from_input("a\n" + line) == Texts{"a", line});
  CHECK(from_input("\n") == Texts{""});
  CHECK_THAT(bad_input_message([&] { from_input(""); }), ContainsSubstring("'standard input' has no prompts"));
  CHECK_THAT(bad_input_message([&] { from_input("{"); }), ContainsSubstring("standard input:1: not valid JSON"));
}

TEST_CASE("Every list of the fuzzers is read or refused") {
  const std::vector<std::string> paths = demask::testing::fuzz_inputs("work_list");
  CHECK(paths.size() >= 3);
  for (const std::string& path : paths) {
    CAPTURE(path);
    const std::string content = demask::testing::read_file(path);  // its first byte chooses the form
    for (const bool is_json : {false, true}) {
      demask::testing::succeeds_or_reports([&] { read(content.substr(1), is_json); });
      demask::testing::succeeds_or_reports([&] {
        std::istringstream in(content.substr(1));
        read_score_list(in, "list", is_json, /*skip_bad=*/false);
      });
    }
  }
}

TEST_CASE("A list to score has texts or tokens, what is given before them, and ids that may be left out") {
  std::istringstream in(R"({"text": "abc"}
{"id": "x", "tokens": [3, 1], "given": "b", "seed": 9}

{"given": [2, 0], "text": ""}
)");
  const PromptList list = read_score_list(in, "list", /*is_json=*/true, /*skip_bad=*/false);
  REQUIRE(list.prompts.size() == 3);
  CHECK(list.prompts[0].id == "1");
  CHECK(list.prompts[0].start_text == "abc");
  CHECK_FALSE(list.prompts[0].given);
  CHECK(list.prompts[1].id == "\"x\"");
  CHECK(list.prompts[1].tokens == std::vector<int64_t>{3, 1});
  CHECK(list.prompts[1].given == "b");
  CHECK(list.prompts[1].seed == 9);
  CHECK(list.prompts[2].id == "4");
  CHECK(list.prompts[2].given_tokens == std::vector<int64_t>{2, 0});
  for (const Prompt& text : list.prompts) {
    CHECK(text.num_samples == 1);
  }
}

TEST_CASE("A line that is no text to score is told of with its reason") {
  const auto score_reason = [](const std::string& line) {
    std::istringstream in("{\"text\": \"good\"}\n" + line);
    const PromptList list = read_score_list(in, "list", /*is_json=*/true, /*skip_bad=*/true);
    REQUIRE(list.bad_lines.size() == 1);
    return list.bad_lines[0].reason;
  };
  CHECK_THAT(score_reason(R"({"start_text": "a"})"), ContainsSubstring("The keys are id, text, tokens, given, seed"));
  CHECK_THAT(score_reason(R"({"text": "a", "tokens": []})"), ContainsSubstring("text and tokens"));
  CHECK_THAT(score_reason("{}"), ContainsSubstring("none of text and tokens"));
  CHECK_THAT(score_reason(R"({"text": ["a"]})"), ContainsSubstring("text = [...]"));
  CHECK_THAT(score_reason(R"({"text": "a", "given": ["a"]})"), ContainsSubstring("given[0] = \"a\""));
  CHECK_THAT(score_reason(R"({"text": "a", "given": [-1]})"), ContainsSubstring("given[0] = -1"));
  CHECK_THAT(score_reason(R"({"text": "a", "given": [[1]]})"), ContainsSubstring("given[0] = [...]"));
  CHECK_THAT(score_reason(R"({"text": "a", "given": {}})"), ContainsSubstring("given = {...}"));
  CHECK_THAT(score_reason(R"({"id": 1, "text": "a"})"), ContainsSubstring("the id 1 is line 1's already"));
  CHECK_THAT(score_reason("[1]"), ContainsSubstring("\"text\": \"To be\""));
}

#include "app/list_line.h"

#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/process.h"
#include "tests/unit/app/lists.h"

using namespace demask;
using namespace demask::work_list_test;
using Catch::Matchers::ContainsSubstring;

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

TEST_CASE("A NUL byte in a text is refused") {
  CHECK_THAT(reason(std::string("a\0b", 3), false), ContainsSubstring("NUL byte: is this a text file?"));
}

// ---- texts to score

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

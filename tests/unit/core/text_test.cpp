#include "core/text.h"

#include <string>
#include <utility>

#include "core/error.h"
#include "core/utf8.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"

namespace demask {
namespace {

using Parts = std::vector<std::string_view>;

TEST_CASE("A text begins and ends with its own ends, and with nothing") {
  CHECK(starts_with("FILE:a", "FILE:"));
  CHECK_FALSE(starts_with("FILE", "FILE:"));
  CHECK(ends_with("a.jsonl", ".jsonl"));
  CHECK_FALSE(ends_with("jsonl", ".jsonl"));
  CHECK(starts_with("", ""));
  CHECK(ends_with("a", ""));
}

TEST_CASE("Splitting gives one part more than there are separators") {
  CHECK(split("a,b", ",") == Parts{"a", "b"});
  CHECK(split("a, b,c", ", ") == Parts{"a", "b,c"});
  CHECK(split("a", ",") == Parts{"a"});
  CHECK(split("", ",") == Parts{""});
  CHECK(split(",a,,", ",") == Parts{"", "a", "", ""});
}

TEST_CASE("The edit distance counts insertions, deletions and replacements") {
  CHECK(edit_distance("kitten", "sitting") == 3);  // Wagner and Fischer's textbook example
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("abc", "") == 3);
  CHECK(edit_distance("same", "same") == 0);
}

TEST_CASE("The nearest name is the one meant, the first of equals, and a long text costs no time") {
  CHECK(nearest("temprature", {"top_p", "temperature", "eta"}) == "temperature");
  CHECK(nearest("x", {"ab", "cd"}) == "ab");
  CHECK(nearest(std::string(10000000, 'a'), {"b", "aaa"}) == "aaa");
}

TEST_CASE("A shortened text keeps within its limit and ends between two characters") {
  CHECK(shorten("short", 5) == "short");
  CHECK(shorten("longer", 5) == "lo...");
  CHECK(shorten("éééé", 7) == "éé...");
  CHECK(shorten("éééé", 6) == "é...");
  CHECK(shorten("\xFF\xFF\xFF\xFF\xFF\xFF", 5) == "\xFF\xFF...");
  for (size_t limit = 3; limit < 20; ++limit) {
    const std::string shortened = shorten("a€😀é and more text than fits", limit);
    CHECK(shortened.size() <= limit);
    CHECK(is_utf8(shortened));
  }
}

TEST_CASE("What does not show is an escape, what does stays as it is") {
  for (const auto& [text, shown] : std::vector<std::pair<std::string, std::string>>{
           {"plain text", "'plain text'"},
           {"naïve Straße € 日本語 😀 Ελληνικά עברית", "'naïve Straße € 日本語 😀 Ελληνικά עברית'"},
           {"e\u0301", "'e\u0301'"},               // a mark that combines
           {"\u2764\uFE0F", "'\u2764\uFE0F'"},     // a heart, and that it is red
           {"a\nb\tc\rd", "'a\\nb\\tc\\rd'"},      // what moves the cursor
           {"\x1b[31m", "'\\x1b[31m'"},            // colours
           {std::string("a\0b", 3), "'a\\x00b'"},  // NUL
           {"\x7f", "'\\x7f'"},                    // delete
           {"\u0085\u009b", "'\\x85\\x9b'"},       // C1, which some terminals obey
           {"a\u00A0b", "'a\\xa0b'"},              // spaces that are none
           {"\u2007\u202F\u3000\u1680", "'\\u2007\\u202f\\u3000\\u1680'"},
           {"\u00AD", "'\\xad'"},                                           // soft hyphen
           {"\uFEFFa", "'\\ufeffa'"},                                       // byte order mark
           {"\u200B\u200C\u200D\u2060", "'\\u200b\\u200c\\u200d\\u2060'"},  // zero width
           {"\u200E\u200F\u061C", "'\\u200e\\u200f\\u061c'"},               // direction marks
           {"\u202A\u202B\u202C\u202D\u202E", "'\\u202a\\u202b\\u202c\\u202d\\u202e'"},
           {"\u2066\u2067\u2068\u2069", "'\\u2066\\u2067\\u2068\\u2069'"},
           {"\u2028\u2029", "'\\u2028\\u2029'"},               // line and paragraph separators
           {"\u115F\u3164\uFFA0", "'\\u115f\\u3164\\uffa0'"},  // fillers
           {"\U000E0041", "'\\U000e0041'"},                    // tags
           {"\u0378\U000DFFFF", "'\\u0378\\U000dffff'"},       // not assigned
           {"\xFF\xC3(", "'\\xff\\xc3('"},                     // not UTF-8
       }) {
    CHECK(quote(text) == shown);
  }
}

TEST_CASE("A quoted text is shortened to whole characters and whole escapes") {
  CHECK(quote(std::string(100, 'x')) == "'" + std::string(100, 'x') + "'");
  CHECK(quote(std::string(500, 'x')) == "'" + std::string(97, 'x') + "...'");
  CHECK(quote("ab\x1b"
              "cdefgh",
              9) == "'ab\\x1b...'");
  CHECK(quote("ab\x1b"
              "cdefgh",
              8) == "'ab...'");
  CHECK(quote("é€é€", 8) == "'é€...'");
}

TEST_CASE("A message keeps its lines and shows everything else that is in it") {
  CHECK(printable_lines("one\n\ttwo\r\x1b\n") == "one\n\ttwo\\r\\x1b\n");
  CHECK(testing::message_of([] { throw_error(ExitCode::bad_usage, std::string("before\0after", 12)); }) ==
        "before\\x00after");
}

TEST_CASE("A terminal gives wide characters two cells and marks that combine none") {
  CHECK(cell_width('a') == 1);
  CHECK(cell_width(0xE9) == 1);
  CHECK(cell_width(0x65E5) == 2);
  CHECK(cell_width(0x301) == 0);
  CHECK(cell_width(0x1B) < 0);
}

}  // namespace
}  // namespace demask

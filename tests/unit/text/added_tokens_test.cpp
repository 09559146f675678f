#include "text/added_tokens.h"

#include <string>
#include <vector>

#include "tests/support/catch.h"

using namespace demask;

namespace {

AddedToken token(const std::string& content) {
  AddedToken result;
  result.content = content;
  return result;
}

// The parts of a text, tokens in brackets.
std::string shown(const std::vector<AddedToken>& tokens, const std::string& text, bool parse_special = true) {
  const AddedTokenFinder finder(tokens);
  std::string result;
  for (const AddedTokenFinder::Part& part : finder.split(text, parse_special)) {
    result += part.token != nullptr ? "[" + std::string(part.text) + "]" : "(" + std::string(part.text) + ")";
  }
  return result;
}

}  // namespace

TEST_CASE("of the tokens that begin first the longest is found") {
  const std::vector<AddedToken> tokens = {token("ab"), token("abcd"), token("bc"), token("d"), token("")};
  CHECK(shown(tokens, "abcd") == "[abcd]");
  CHECK(shown(tokens, "abce") == "[ab](ce)");
  CHECK(shown(tokens, "xbcdx") == "(x)[bc][d](x)");
  CHECK(shown(tokens, "").empty());
  CHECK(shown({}, "ab") == "(ab)");
}

TEST_CASE("special tokens are text where they are not parsed, and are not looked through") {
  std::vector<AddedToken> tokens = {token("<a>"), token("a")};
  tokens[0].special = true;
  CHECK(shown(tokens, "x<a>a") == "(x)[<a>][a]");
  CHECK(shown(tokens, "x<a>a", false) == "(x<a>)[a]");
}

TEST_CASE("a token may take the spaces beside it") {
  std::vector<AddedToken> tokens = {token("<l>"), token("<r>")};
  tokens[0].lstrip = true;
  tokens[1].rstrip = true;
  CHECK(shown(tokens, "a \u3000<l> b") == "(a)[ \u3000<l>]( b)");
  CHECK(shown(tokens, "a <r> \n b") == "(a )[<r> \n ](b)");
  CHECK(shown(tokens, "<r>  <l>") == "[<r>  ][<l>]");
  CHECK(shown(tokens, "  <l>") == "[  <l>]");
}

TEST_CASE("a token that is a single word has none beside it") {
  std::vector<AddedToken> tokens = {token("mask")};
  tokens[0].single_word = true;
  CHECK(shown(tokens, "mask unmask masks mask_ \u00E9mask (mask)") ==
        "[mask]( unmask masks mask_ \u00E9mask ()[mask]())");
}

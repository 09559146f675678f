#include "pattern/word_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "core/error.h"
#include "core/input_file.h"
#include "core/text.h"
#include "core/utf8.h"
#include "text/unicode.h"

namespace demask {
namespace {

void check_word(const std::string& path, const Lines& line) {
  const auto refuse = [&](const std::string& what) {
    fail(ExitCode::bad_input, "'{}', line {}: {}. Give one word a line.", path, line.number(), what);
  };
  if (line.bytes() > most_word_bytes) {
    refuse(fmt::format("{} bytes, and a word has at most {}", line.bytes(), most_word_bytes));
  }
  if (!is_utf8(line.text())) {
    refuse("not UTF-8, " + quote(line.text()));
  }
  for (const std::string_view character : characters_of(line.text())) {
    if (is_white_space(decode_utf8(character))) {
      refuse("white space in a word, " + quote(line.text()));
    }
  }
}

}  // namespace

std::vector<std::string> read_word_list(const std::string& path) {
  std::istringstream text(read_input_file(path, {"list of words", "Check --words."}, most_word_list_bytes));
  Lines lines(text, most_word_bytes);
  std::vector<std::string> words;
  while (lines.next()) {
    if (lines.bytes() > 0) {
      check_word(path, lines);
      words.push_back(lines.text());
    }
  }
  if (words.empty()) {
    fail(ExitCode::bad_input, "'{}' has no word. Give one word a line.", path);
  }
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  return words;
}

}  // namespace demask

// Lists of prompts from texts, that tests of lines and of whole lists share.
#pragma once

#include <sstream>
#include <string>
#include <vector>

#include "app/work_list.h"
#include "tests/support/catch.h"

namespace demask::work_list_test {

inline PromptList read(const std::string& text, bool is_json, bool skip_bad = false) {
  std::istringstream in(text);
  return read_work_list(in, "list", is_json, skip_bad);
}

inline PromptList read_text(const std::string& text, bool skip_bad = false) {
  return read(text, false, skip_bad);
}

inline PromptList read_json(const std::string& text, bool skip_bad = false) {
  return read(text, true, skip_bad);
}

inline std::vector<std::string> start_texts(const PromptList& list) {
  std::vector<std::string> texts;
  for (const Prompt& item : list.prompts) {
    texts.push_back(item.start_text.value());
  }
  return texts;
}

// Why a line is left out after a good one, which must stay.
inline std::string reason(const std::string& line, bool is_json) {
  const PromptList list =
      read((is_json ? "{\"id\": \"good\", \"start_text\": \"\"}\n" : "good\n") + line, is_json, true);
  CHECK(list.prompts.size() == 1);
  if (list.bad_lines.size() != 1) {
    return "no bad line";
  }
  CHECK(list.bad_lines[0].line == 2);
  return list.bad_lines[0].reason;
}

inline std::string json_reason(const std::string& line) {
  return reason(line, true);
}

// A key with a value, in an object that has all else a prompt needs.
inline std::string with(const std::string& key, const std::string& value) {
  return R"({"id": 1, "start_text": "a", ")" + key + "\": " + value + "}";
}

using Texts = std::vector<std::string>;

}  // namespace demask::work_list_test

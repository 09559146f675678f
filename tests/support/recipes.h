// Commands of the documentation, as they stand there under a line that names them.
#pragma once

#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/process.h"

namespace demask::testing {

inline const std::string recipe_mark = "<!-- recipe: ";

// The commands of docs/<document> that are marked with this name.
inline std::string recipe(const std::string& document, const std::string& name) {
  const std::string text = read_file(std::string(DEMASK_SOURCE_DIR) + "/docs/" + document);
  const std::string mark = recipe_mark + name + " -->\n```";  // and the language
  const size_t start = text.find(mark);
  CAPTURE(document, name);
  REQUIRE(start != std::string::npos);
  const size_t begin = text.find('\n', start + mark.size()) + 1;
  return text.substr(begin, text.find("```", begin) - begin);
}

// The names of all recipes of docs/<document>, in order.
inline std::vector<std::string> recipe_names(const std::string& document) {
  const std::string text = read_file(std::string(DEMASK_SOURCE_DIR) + "/docs/" + document);
  std::vector<std::string> names;
  for (size_t at = text.find(recipe_mark); at != std::string::npos; at = text.find(recipe_mark, at + 1)) {
    const size_t begin = at + recipe_mark.size();
    names.push_back(text.substr(begin, text.find(" -->", begin) - begin));
  }
  return names;
}

}  // namespace demask::testing

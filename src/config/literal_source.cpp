#include "config/literal_source.h"

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace demask {
namespace {

std::string float_source(double number) {
  std::string source = fmt::format("{}", number);
  if (source.find_first_of(".e") == std::string::npos) {
    source += ".0";
  }
  return source;
}

std::string string_source(const std::string& text) {
  std::string source = "'";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\\' || c == '\'') {
      source += '\\';
      source += c;
    } else if (c == '\n') {
      source += "\\n";
    } else if (c == '\t') {
      source += "\\t";
    } else if (byte < 0x20 || byte == 0x7F) {
      source += fmt::format("\\x{:02x}", static_cast<unsigned>(byte));
    } else {
      source += c;
    }
  }
  return source + "'";
}

std::string list_source(const std::vector<Literal>& items) {
  std::string source = "[";
  for (const Literal& item : items) {
    source += source.size() > 1 ? ", " : "";
    source += to_source(item);
  }
  return source + "]";
}

}  // namespace

std::string to_source(const Literal& literal) {
  struct Source {
    std::string operator()(std::monostate) const { return "None"; }
    std::string operator()(bool flag) const { return flag ? "True" : "False"; }
    std::string operator()(int64_t number) const { return fmt::format("{}", number); }
    std::string operator()(double number) const { return float_source(number); }
    std::string operator()(const std::string& text) const { return string_source(text); }
    std::string operator()(const std::vector<Literal>& items) const { return list_source(items); }
  };
  return std::visit(Source{}, literal.value);
}

}  // namespace demask

#include "config/apply.h"

#include <optional>
#include <utility>

#include "core/error.h"

namespace demask {

void apply(const Field& field, const Literal& value, const std::string& as_written, ParsedConfig& parsed) {
  if (!assign(field, value, parsed)) {
    const bool is_nameless = value == Literal{std::string()} && std::holds_alternative<std::monostate>(field.rule);
    fail(ExitCode::bad_usage, "{}: must be {}{}", as_written, allowed_values(field),
         is_text(field) && is_nameless ? ", and not empty" : "");
  }
}

Literal read_value(const Field& field, const std::string& text) {
  std::optional<Literal> literal = parse_literal(text);
  const bool is_none = literal && *literal == Literal{};
  const bool is_string = literal && std::holds_alternative<std::string>(literal->value);
  if (!literal || (is_text(field) && !is_string && !(is_none && can_be_none(field)))) {
    return {text};
  }
  return *std::move(literal);
}

}  // namespace demask

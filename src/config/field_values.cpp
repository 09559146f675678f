// Finding keys of the table, their values in words, and setting them.
#include <fmt/format.h>

#include <algorithm>
#include <variant>

#include "config/fields.h"
#include "core/text.h"

namespace demask {
namespace {

std::string text_in_words(const Rule& rule) {
  if (const auto* form = std::get_if<Form>(&rule)) {
    return std::string(form->description);
  }
  const auto* names = std::get_if<Choices>(&rule);
  if (names == nullptr) {
    return "a text";
  }
  std::string words;
  for (size_t i = 0; i < names->size(); ++i) {
    words += i == 0 ? "" : i + 1 == names->size() ? " or " : ", ";
    words += fmt::format("'{}'", (*names)[i]);
  }
  return words;
}

}  // namespace

const Field* find_field(std::string_view name) {
  const auto named = [name](const Field& field) {
    return field.name == name || (field.alias == name && !name.empty());
  };
  const auto found = std::find_if(fields().begin(), fields().end(), named);
  return found == fields().end() ? nullptr : &*found;
}

std::string_view nearest_name(std::string_view misspelt) {
  std::vector<std::string_view> names;
  for (const Field& field : fields()) {
    names.push_back(field.name);
  }
  return nearest(misspelt, names);
}

bool is_bool(const Field& field) {
  return field.member.type == FieldType::flag;
}

bool is_text(const Field& field) {
  return field.member.type == FieldType::text;
}

bool can_be_none(const Field& field) {
  return field.member.can_be_none;
}

std::string allowed_values(const Field& field) {
  const auto* range = std::get_if<Range>(&field.rule);
  const std::string bounds = range == nullptr ? "" : in_words(*range);
  const std::string none = can_be_none(field) ? ", or None" : "";
  switch (field.member.type) {
    case FieldType::flag:
      return "True or False" + none;
    case FieldType::whole:
      return "a whole number" + bounds + none;
    case FieldType::number:
      return "a number" + bounds + none;
    case FieldType::wholes:
      return "a list of one or more whole numbers" + bounds + " such as [0, 3]" + none;
    case FieldType::numbers:
      return "a list of one or more numbers" + bounds + " such as [0.9, 0.5, 0.1]" + none;
    case FieldType::text:
      break;
  }
  return text_in_words(field.rule) + none;
}

Literal value_of(const Field& field, const Config& config) {
  return field.member.value(config);
}

bool assign(const Field& field, const Literal& value, ParsedConfig& parsed) {
  const bool assigned = field.member.assign(value, field.rule, parsed.config);
  if (assigned) {
    parsed.given.emplace(field.name);
  }
  return assigned;
}

}  // namespace demask

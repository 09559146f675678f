#include "checkpoint/pickle_value.h"

#include <fmt/format.h>

#include "core/text.h"

namespace demask {
namespace {

using Kind = PickleValue::Kind;

}  // namespace

const PickleValue* find(const PickleValue& dict, std::string_view key) {
  for (size_t i = dict.items.size(); i >= 2; i -= 2) {
    const PickleValue& candidate = *dict.items[i - 2];
    if (candidate.kind == Kind::text && candidate.text == key) {
      return dict.items[i - 1];
    }
  }
  return nullptr;
}

std::string list_keys(const PickleValue& dict) {
  constexpr size_t shown = 12;
  std::string keys;
  for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    if (i / 2 == shown) {
      return fmt::format("{} and {} more", keys, dict.items.size() / 2 - shown);
    }
    const PickleValue& key = *dict.items[i];
    keys += fmt::format("{}{}", keys.empty() ? "" : ", ", key.kind == Kind::text ? quote(key.text) : describe(key));
  }
  return keys.empty() ? "none" : keys;
}

bool is_call_of(const PickleValue& value, std::string_view global, size_t arguments) {
  return value.kind == Kind::call && value.items[0]->kind == Kind::global && value.items[0]->text == global &&
         value.items.size() > arguments;
}

std::string describe(const PickleValue& value) {
  switch (value.kind) {
    case Kind::none:
      return "None";
    case Kind::boolean:
      return value.integer != 0 ? "True" : "False";
    case Kind::integer:
      return fmt::format("the integer {}", value.integer);
    case Kind::big_integer:
      return "an integer beyond 64 bits";
    case Kind::real:
      return fmt::format("the float {}", value.real);
    case Kind::text:
      return fmt::format("the string {}", quote(value.text));
    case Kind::bytes:
      return "bytes";
    case Kind::list:
      return "a list";
    case Kind::tuple:
      return "a tuple";
    case Kind::set:
      return "a set";
    case Kind::dict:
      return "a dict";
    case Kind::global:
      return fmt::format("the Python name {}", quote(value.text));
    case Kind::persistent_id:
      return "a tensor storage";
    case Kind::call:
      break;
  }
  const PickleValue* callee = &value;
  for (int level = 0; callee->kind == Kind::call && level < max_pickle_depth; ++level) {
    callee = callee->items[0];
  }
  return fmt::format("a call of {}, which demask does not run",
                     callee->kind == Kind::global ? quote(callee->text) : "an object");
}

}  // namespace demask

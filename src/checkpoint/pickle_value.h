// The values of a pickle, and finding and naming them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace demask {

// Of values in values: Python's own recursion limit. A pickle that goes deeper is refused.
inline constexpr int max_pickle_depth = 1000;

// One value of a pickle. Values are shared and may form cycles; the Pickle that they came from owns them all.
struct PickleValue {
  enum class Kind {
    none,
    boolean,
    integer,
    big_integer,  // beyond 64 bits; its value is not kept
    real,
    text,
    bytes,
    list,
    tuple,
    set,
    dict,
    global,         // a Python function or class, by name
    call,           // the result of calling a global; what is later added to the result (APPEND, SETITEM) is dropped
    persistent_id,  // an object that is stored outside the pickle
  };

  Kind kind = Kind::none;
  int depth = 1;        // of the tree below and with this value
  int64_t integer = 0;  // integer; 0 or 1 of a boolean
  double real = 0.0;    // real
  std::string text;  // text and bytes as the file has them (text is not checked to be UTF-8); "module.name" of a global
  std::vector<const PickleValue*>
      items;  // list, tuple, set; dict: key, value, key, value ...; call: callee, arguments; persistent_id: the id
  const PickleValue* state = nullptr;  // of a call: the attributes that the result was given last, or null
};

// The value of a text key of a dict (the last, where a key is repeated), or null.
const PickleValue* find(const PickleValue& dict, std::string_view key);

// The text keys of a dict, quoted, for messages.
std::string list_keys(const PickleValue& dict);

// True for the result of a call of `global` ("module.name") with at least `arguments` arguments.
bool is_call_of(const PickleValue& value, std::string_view global, size_t arguments);

// What a value is, for messages: "the integer 3", "a list", "a call of 'posix.system', which demask does not run".
std::string describe(const PickleValue& value);

}  // namespace demask

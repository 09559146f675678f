// A bounded reader of Python pickles, protocols 2 to 5. It runs no code: a call that a pickle asks for becomes a node
// that says which call it was, and whoever needs the value decides whether it knows that call.
#pragma once

#include <deque>
#include <string>
#include <string_view>

#include "checkpoint/pickle_value.h"

namespace demask {

class Pickle {
 public:
  // Reads one pickle; `source` names it in messages. collections.OrderedDict() is read as a dict, and NumPy's scalars
  // as the booleans, numbers and texts that they are.
  // Throws Error(bad_input) where the pickle is malformed, of protocol 0 or 1, or beyond the bounds in pickle.cpp and
  // pickle_stack.cpp.
  Pickle(std::string_view bytes, const std::string& source);
  Pickle(const Pickle&) = delete;
  Pickle& operator=(const Pickle&) = delete;

  const PickleValue& root() const { return *root_; }

 private:
  std::deque<PickleValue> values_;  // flat, so that neither cycles nor depth matter when it is destroyed
  const PickleValue* root_ = nullptr;
};

}  // namespace demask

// What an action that must fail says.
#pragma once

#include <string>

#include "demask/error.h"

namespace demask::testing {

// The message of the Error that `action` throws, "no error" where it throws none.
template <typename Action>
std::string message_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// The message of the Error(bad_input) that `action` throws; another text where it throws none, or with another code.
template <typename Action>
std::string bad_input_message(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.code() == ExitCode::bad_input ? error.what() : std::string("other exit code: ") + error.what();
  }
  return "no error";
}

}  // namespace demask::testing

// The machine that a pickle's opcodes work on: a stack with marks and a memo, of values that do nothing, within bounds.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "checkpoint/pickle_value.h"
#include "core/error.h"

namespace demask {

// How far a pickle is read, for messages.
struct PicklePosition {
  const std::string& source;
  size_t byte = 0;
  unsigned char opcode = 0;

  // Throws Error(bad_input).
  template <typename... Args>
  [[noreturn]] void malformed(fmt::format_string<Args...> format, Args&&... args) const {
    fail(ExitCode::bad_input, "{}: cannot read the pickle, at byte {}: {}", source, byte,
         fmt::format(format, std::forward<Args>(args)...));
  }
};

// Every function that takes something from the stack or adds to it throws Error(bad_input), at the position `at`, where
// nothing is there to take or a bound is passed.
class PickleStack {
 public:
  // `values` takes every value that is made. Both arguments must outlive the stack.
  PickleStack(std::deque<PickleValue>& values, const PicklePosition& at) : values_(values), at_(at) {}

  PickleValue& push(PickleValue::Kind kind);
  void push_sequence(PickleValue::Kind kind, const std::vector<PickleValue*>& items);
  void push_global(std::string_view module, std::string_view name);
  void push_top_again() { stack_.push_back(top()); }
  // Pushes the result of a call that is not made: an empty dict for OrderedDict's, a scalar for NumPy's, else a call.
  void push_call(const PickleValue* callee, const PickleValue* arguments);

  PickleValue* top() const;
  PickleValue* pop();
  void pop_value_or_mark();
  std::vector<PickleValue*> pop_values(size_t count);

  void mark() { marks_.push_back(stack_.size()); }
  std::vector<PickleValue*> pop_to_mark();

  // Adds to the container on top of the stack; a call result takes anything, and it is dropped.
  void extend(PickleValue::Kind kind, const std::vector<PickleValue*>& items);
  void attach(PickleValue& parent, const PickleValue* child);

  void memoize(uint64_t index);
  void memoize_next() { memoize(memo_.size()); }
  void recall(uint64_t index);

  void check_height() const;

 private:
  void spend(size_t count);
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  std::deque<PickleValue>& values_;
  const PicklePosition& at_;
  size_t spent_ = 0;
  std::vector<PickleValue*> stack_;
  std::vector<size_t> marks_;  // heights of the stack
  std::unordered_map<uint64_t, PickleValue*> memo_;
};

}  // namespace demask

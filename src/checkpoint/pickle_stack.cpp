#include "checkpoint/pickle_stack.h"

#include <algorithm>

#include "checkpoint/numpy_scalar.h"

namespace demask {
namespace {

using Kind = PickleValue::Kind;

// Far above what checkpoints and vocabularies need, far below what would exhaust a machine.
constexpr size_t max_stack = size_t{1} << 20;
constexpr size_t max_values = size_t{1} << 23;  // values, references between them and memo entries together

}  // namespace

void PickleStack::spend(size_t count) {
  spent_ += count;
  if (spent_ > max_values) {
    at_.malformed("it holds more than {} values", max_values);
  }
}

PickleValue& PickleStack::push(Kind kind) {
  spend(1);
  PickleValue& value = values_.emplace_back();
  value.kind = kind;
  stack_.push_back(&value);
  return value;
}

PickleValue* PickleStack::top() const {
  if (stack_.size() <= floor()) {
    at_.malformed("opcode {:#04x} finds an empty stack", at_.opcode);
  }
  return stack_.back();
}

PickleValue* PickleStack::pop() {
  PickleValue* value = top();
  stack_.pop_back();
  return value;
}

void PickleStack::pop_value_or_mark() {
  if (!marks_.empty() && stack_.size() == marks_.back()) {
    marks_.pop_back();
  } else {
    pop();
  }
}

std::vector<PickleValue*> PickleStack::pop_to_mark() {
  if (marks_.empty()) {
    at_.malformed("opcode {:#04x} finds no mark", at_.opcode);
  }
  const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
  std::vector<PickleValue*> values(begin, stack_.end());
  stack_.erase(begin, stack_.end());
  marks_.pop_back();
  return values;
}

std::vector<PickleValue*> PickleStack::pop_values(size_t count) {
  std::vector<PickleValue*> values(count);
  for (size_t i = count; i-- > 0;) {
    values[i] = pop();
  }
  return values;
}

void PickleStack::attach(PickleValue& parent, const PickleValue* child) {
  spend(1);
  parent.items.push_back(child);
  parent.depth = std::max(parent.depth, child->depth + 1);
  if (parent.depth > max_pickle_depth) {
    at_.malformed("its values nest more than {} deep", max_pickle_depth);
  }
}

void PickleStack::push_sequence(Kind kind, const std::vector<PickleValue*>& items) {
  PickleValue& sequence = push(kind);
  for (const PickleValue* item : items) {
    attach(sequence, item);
  }
}

void PickleStack::extend(Kind kind, const std::vector<PickleValue*>& items) {
  PickleValue& container = *top();
  if (container.kind == Kind::call) {
    return;
  }
  if (container.kind != kind) {
    at_.malformed("opcode {:#04x} cannot add to {}", at_.opcode, describe(container));
  }
  if (kind == Kind::dict && items.size() % 2 != 0) {
    at_.malformed("a dict is given a key without a value");
  }
  for (const PickleValue* item : items) {
    attach(container, item);
  }
}

void PickleStack::push_call(const PickleValue* callee, const PickleValue* arguments) {
  if (arguments->kind != Kind::tuple) {
    at_.malformed("a call is given {} for arguments, not a tuple", describe(*arguments));
  }
  if (callee->kind == Kind::global && callee->text == "collections.OrderedDict" && arguments->items.empty()) {
    push(Kind::dict);
    return;
  }
  PickleValue& result = push(Kind::call);
  const bool is_scalar = callee->kind == Kind::global && makes_numpy_scalar(callee->text) &&
                         arguments->items.size() == 2 &&
                         read_numpy_scalar(*arguments->items[0], *arguments->items[1], result);
  if (is_scalar) {
    spend(result.text.size() / sizeof(PickleValue));  // a copy, as of names
    return;
  }
  attach(result, callee);
  for (const PickleValue* argument : arguments->items) {
    attach(result, argument);
  }
}

void PickleStack::push_global(std::string_view module, std::string_view name) {
  spend((module.size() + name.size()) / sizeof(PickleValue));  // a copy: the memo can repeat long names at no cost
  push(Kind::global).text = fmt::format("{}.{}", module, name);
}

void PickleStack::memoize(uint64_t index) {
  spend(1);
  memo_[index] = top();
}

void PickleStack::recall(uint64_t index) {
  const auto entry = memo_.find(index);
  if (entry == memo_.end()) {
    at_.malformed("it refers to memo entry {}, which is not there", index);
  }
  stack_.push_back(entry->second);
}

void PickleStack::check_height() const {
  if (stack_.size() + marks_.size() > max_stack) {
    at_.malformed("more than {} values wait on its stack", max_stack);
  }
}

}  // namespace demask

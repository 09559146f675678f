#include "checkpoint/pickle.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <utility>

#include "checkpoint/numpy_scalar.h"
#include "core/error.h"
#include "core/text.h"

namespace demask {
namespace {

using Kind = PickleValue::Kind;

// Far above what checkpoints and vocabularies need, far below what would exhaust a machine.
constexpr size_t max_input_bytes = size_t{64} << 20;
constexpr size_t max_stack = size_t{1} << 20;
constexpr size_t max_values = size_t{1} << 23;  // values, references between them and memo entries together

// Names as in Python's pickletools.
enum Opcode : unsigned char {
  MARK = '(',
  STOP = '.',
  POP = '0',
  POP_MARK = '1',
  DUP = '2',
  NONE = 'N',
  NEWTRUE = 0x88,
  NEWFALSE = 0x89,
  BININT = 'J',
  BININT1 = 'K',
  BININT2 = 'M',
  LONG1 = 0x8a,
  LONG4 = 0x8b,
  BINFLOAT = 'G',
  BINSTRING = 'T',
  SHORT_BINSTRING = 'U',
  BINUNICODE = 'X',
  SHORT_BINUNICODE = 0x8c,
  BINUNICODE8 = 0x8d,
  BINBYTES = 'B',
  SHORT_BINBYTES = 'C',
  BINBYTES8 = 0x8e,
  BYTEARRAY8 = 0x96,
  EMPTY_TUPLE = ')',
  TUPLE = 't',
  TUPLE1 = 0x85,
  TUPLE2 = 0x86,
  TUPLE3 = 0x87,
  EMPTY_LIST = ']',
  APPEND = 'a',
  APPENDS = 'e',
  EMPTY_DICT = '}',
  SETITEM = 's',
  SETITEMS = 'u',
  EMPTY_SET = 0x8f,
  ADDITEMS = 0x90,
  FROZENSET = 0x91,
  GLOBAL = 'c',
  STACK_GLOBAL = 0x93,
  REDUCE = 'R',
  NEWOBJ = 0x81,
  NEWOBJ_EX = 0x92,
  BUILD = 'b',
  BINPUT = 'q',
  LONG_BINPUT = 'r',
  MEMOIZE = 0x94,
  BINGET = 'h',
  LONG_BINGET = 'j',
  BINPERSID = 'Q',
  PROTO = 0x80,
  FRAME = 0x95,
};

// The stack machine of Python's pickle, on values that do nothing.
class Unpickler {
 public:
  Unpickler(std::string_view bytes, const std::string& source, std::deque<PickleValue>& values)
      : bytes_(bytes), source_(source), values_(values) {}

  const PickleValue* run() {
    if (bytes_.size() > max_input_bytes) {
      malformed("it is larger than the {} bytes allowed", max_input_bytes);
    }
    read_protocol();
    for (;;) {
      opcode_ = static_cast<unsigned char>(take(1)[0]);
      if (opcode_ == STOP) {
        return pop();
      }
      if (!read_scalar() && !read_container() && !read_object() && !read_stack_or_memo()) {
        malformed("opcode {:#04x} is not one that Python writes with protocols 2 to 5", opcode_);
      }
      if (stack_.size() + marks_.size() > max_stack) {
        malformed("more than {} values wait on its stack", max_stack);
      }
    }
  }

 private:
  template <typename... Args>
  [[noreturn]] void malformed(fmt::format_string<Args...> format, Args&&... args) const {
    fail(ExitCode::bad_input, "{}: cannot read the pickle, at byte {}: {}", source_, position_,
         fmt::format(format, std::forward<Args>(args)...));
  }

  // --- bytes ---

  std::string_view take(uint64_t count) {
    const size_t left = bytes_.size() - position_;
    if (count > left) {
      malformed("it ends too early ({} bytes needed, {} left)", count, left);
    }
    const std::string_view taken = bytes_.substr(position_, static_cast<size_t>(count));
    position_ += static_cast<size_t>(count);
    return taken;
  }

  uint64_t little_endian(std::string_view bytes) const {
    uint64_t number = 0;
    for (size_t i = bytes.size(); i-- > 0;) {
      number = number << 8 | static_cast<unsigned char>(bytes[i]);
    }
    return number;
  }

  uint64_t unsigned_number(size_t width) { return little_endian(take(width)); }

  std::string_view line() {
    const size_t end = bytes_.find('\n', position_);
    if (end == std::string_view::npos) {
      malformed("a name has no end");
    }
    const std::string_view text = take(end - position_);
    take(1);
    return text;
  }

  void read_protocol() {
    if (bytes_.size() < 2 || static_cast<unsigned char>(bytes_[0]) != PROTO) {
      malformed("it is not a pickle of protocol 2 to 5; write it again with pickle.dump(..., protocol=4)");
    }
    position_ = 2;
    const int protocol = static_cast<unsigned char>(bytes_[1]);
    if (protocol < 2 || protocol > 5) {
      malformed("protocol {} is not one of 2 to 5", protocol);
    }
  }

  // --- values ---

  void spend(size_t count) {
    spent_ += count;
    if (spent_ > max_values) {
      malformed("it holds more than {} values", max_values);
    }
  }

  PickleValue& push(Kind kind) {
    spend(1);
    PickleValue& value = values_.emplace_back();
    value.kind = kind;
    stack_.push_back(&value);
    return value;
  }

  void push_text(Kind kind, uint64_t length) {
    const std::string_view text = take(length);
    push(kind).text = text;
  }

  void push_integer(int64_t number) { push(Kind::integer).integer = number; }

  void push_long(uint64_t width) {
    const std::string_view digits = take(width);
    if (width > 8) {
      push(Kind::big_integer);
      return;
    }
    uint64_t number = little_endian(digits);
    const bool negative = width > 0 && (digits.back() & 0x80) != 0;
    if (negative && width < 8) {
      number |= ~uint64_t{0} << (8 * width);
    }
    push_integer(static_cast<int64_t>(number));
  }

  void push_real() {
    uint64_t bits = 0;
    for (const char byte : take(8)) {
      bits = bits << 8 | static_cast<unsigned char>(byte);
    }
    double number = 0.0;
    static_assert(sizeof number == sizeof bits);
    std::memcpy(&number, &bits, sizeof number);
    push(Kind::real).real = number;
  }

  // --- the stack ---

  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  PickleValue* top() const {
    if (stack_.size() <= floor()) {
      malformed("opcode {:#04x} finds an empty stack", opcode_);
    }
    return stack_.back();
  }

  PickleValue* pop() {
    PickleValue* value = top();
    stack_.pop_back();
    return value;
  }

  std::vector<PickleValue*> pop_to_mark() {
    if (marks_.empty()) {
      malformed("opcode {:#04x} finds no mark", opcode_);
    }
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<PickleValue*> values(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return values;
  }

  std::vector<PickleValue*> pop_values(size_t count) {
    std::vector<PickleValue*> values(count);
    for (size_t i = count; i-- > 0;) {
      values[i] = pop();
    }
    return values;
  }

  void attach(PickleValue& parent, const PickleValue* child) {
    spend(1);
    parent.items.push_back(child);
    parent.depth = std::max(parent.depth, child->depth + 1);
    if (parent.depth > max_pickle_depth) {
      malformed("its values nest more than {} deep", max_pickle_depth);
    }
  }

  void push_sequence(Kind kind, const std::vector<PickleValue*>& items) {
    PickleValue& sequence = push(kind);
    for (const PickleValue* item : items) {
      attach(sequence, item);
    }
  }

  // Adds to the container on top of the stack; a call result takes anything, and it is dropped.
  void extend(Kind kind, const std::vector<PickleValue*>& items) {
    PickleValue& container = *top();
    if (container.kind == Kind::call) {
      return;
    }
    if (container.kind != kind) {
      malformed("opcode {:#04x} cannot add to {}", opcode_, describe(container));
    }
    if (kind == Kind::dict && items.size() % 2 != 0) {
      malformed("a dict is given a key without a value");
    }
    for (const PickleValue* item : items) {
      attach(container, item);
    }
  }

  void call(const PickleValue* callee, const PickleValue* arguments) {
    if (arguments->kind != Kind::tuple) {
      malformed("a call is given {} for arguments, not a tuple", describe(*arguments));
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

  void push_global(std::string_view module, std::string_view name) {
    spend((module.size() + name.size()) / sizeof(PickleValue));  // a copy: the memo can repeat long names at no cost
    push(Kind::global).text = fmt::format("{}.{}", module, name);
  }

  void memoize(uint64_t index) {
    spend(1);
    memo_[index] = top();
  }

  void recall(uint64_t index) {
    const auto entry = memo_.find(index);
    if (entry == memo_.end()) {
      malformed("it refers to memo entry {}, which is not there", index);
    }
    stack_.push_back(entry->second);
  }

  // --- opcodes; each function returns false where the opcode is not among its own ---

  bool read_scalar() {
    switch (opcode_) {
      case NONE:
        push(Kind::none);
        return true;
      case NEWTRUE:
        push(Kind::boolean).integer = 1;
        return true;
      case NEWFALSE:
        push(Kind::boolean).integer = 0;
        return true;
      case BININT:
        push_long(4);
        return true;
      case BININT1:
        push_integer(static_cast<int64_t>(unsigned_number(1)));
        return true;
      case BININT2:
        push_integer(static_cast<int64_t>(unsigned_number(2)));
        return true;
      case LONG1:
        push_long(unsigned_number(1));
        return true;
      case LONG4:
        push_long(unsigned_number(4));
        return true;
      case BINFLOAT:
        push_real();
        return true;
      case SHORT_BINSTRING:
      case SHORT_BINUNICODE:
        push_text(Kind::text, unsigned_number(1));
        return true;
      case BINSTRING:
      case BINUNICODE:
        push_text(Kind::text, unsigned_number(4));
        return true;
      case BINUNICODE8:
        push_text(Kind::text, unsigned_number(8));
        return true;
      case SHORT_BINBYTES:
        push_text(Kind::bytes, unsigned_number(1));
        return true;
      case BINBYTES:
        push_text(Kind::bytes, unsigned_number(4));
        return true;
      case BINBYTES8:
      case BYTEARRAY8:
        push_text(Kind::bytes, unsigned_number(8));
        return true;
      default:
        return false;
    }
  }

  bool read_container() {
    switch (opcode_) {
      case EMPTY_TUPLE:
        push(Kind::tuple);
        return true;
      case TUPLE:
        push_sequence(Kind::tuple, pop_to_mark());
        return true;
      case TUPLE1:
        push_sequence(Kind::tuple, pop_values(1));
        return true;
      case TUPLE2:
        push_sequence(Kind::tuple, pop_values(2));
        return true;
      case TUPLE3:
        push_sequence(Kind::tuple, pop_values(3));
        return true;
      case EMPTY_LIST:
        push(Kind::list);
        return true;
      case APPEND:
        extend(Kind::list, pop_values(1));
        return true;
      case APPENDS:
        extend(Kind::list, pop_to_mark());
        return true;
      case EMPTY_DICT:
        push(Kind::dict);
        return true;
      case SETITEM:
        extend(Kind::dict, pop_values(2));
        return true;
      case SETITEMS:
        extend(Kind::dict, pop_to_mark());
        return true;
      case EMPTY_SET:
        push(Kind::set);
        return true;
      case ADDITEMS:
        extend(Kind::set, pop_to_mark());
        return true;
      case FROZENSET:
        push_sequence(Kind::set, pop_to_mark());
        return true;
      default:
        return false;
    }
  }

  bool read_object() {
    switch (opcode_) {
      case GLOBAL: {
        const std::string_view module = line();
        push_global(module, line());
        return true;
      }
      case STACK_GLOBAL: {
        const std::vector<PickleValue*> names = pop_values(2);
        if (names[0]->kind != Kind::text || names[1]->kind != Kind::text) {
          malformed("a name is not a string");
        }
        push_global(names[0]->text, names[1]->text);
        return true;
      }
      case REDUCE:
      case NEWOBJ: {
        const std::vector<PickleValue*> parts = pop_values(2);
        call(parts[0], parts[1]);
        return true;
      }
      case NEWOBJ_EX: {
        const std::vector<PickleValue*> parts =
            pop_values(3);  // keyword arguments come last; no call that is known has any
        call(parts[0], parts[1]);
        return true;
      }
      case BUILD: {
        // Attributes of an object. A dtype's say its byte order, and are read with its arguments.
        const PickleValue* state = pop();
        PickleValue* object = top();
        object->state = state;
        if (is_numpy_dtype(*object)) {
          attach(*object, state);
        }
        return true;
      }
      case BINPERSID:
        push_sequence(Kind::persistent_id, pop_values(1));
        return true;
      default:
        return false;
    }
  }

  bool read_stack_or_memo() {
    switch (opcode_) {
      case MARK:
        marks_.push_back(stack_.size());
        return true;
      case POP:
        if (!marks_.empty() && stack_.size() == marks_.back()) {
          marks_.pop_back();
        } else {
          pop();
        }
        return true;
      case POP_MARK:
        pop_to_mark();
        return true;
      case DUP:
        stack_.push_back(top());
        return true;
      case BINPUT:
        memoize(unsigned_number(1));
        return true;
      case LONG_BINPUT:
        memoize(unsigned_number(4));
        return true;
      case MEMOIZE:
        memoize(memo_.size());
        return true;
      case BINGET:
        recall(unsigned_number(1));
        return true;
      case LONG_BINGET:
        recall(unsigned_number(4));
        return true;
      case FRAME:  // only tells a stream how much to buffer
        if (unsigned_number(8) > bytes_.size() - position_) {
          malformed("a frame is longer than what follows");
        }
        return true;
      default:
        return false;
    }
  }

  std::string_view bytes_;
  const std::string& source_;
  std::deque<PickleValue>& values_;
  size_t position_ = 0;
  size_t spent_ = 0;
  unsigned char opcode_ = 0;
  std::vector<PickleValue*> stack_;
  std::vector<size_t> marks_;  // heights of the stack
  std::unordered_map<uint64_t, PickleValue*> memo_;
};

}  // namespace

Pickle::Pickle(std::string_view bytes, const std::string& source) : root_(Unpickler(bytes, source, values_).run()) {}

}  // namespace demask

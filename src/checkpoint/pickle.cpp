#include "checkpoint/pickle.h"

#include <fmt/format.h>

#include <cstring>

#include "checkpoint/numpy_scalar.h"
#include "checkpoint/pickle_stack.h"

namespace demask {
namespace {

using Kind = PickleValue::Kind;

// Far above what checkpoints and vocabularies need, far below what would exhaust a machine.
constexpr size_t max_input_bytes = size_t{64} << 20;

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

// Reads a pickle's opcodes, and has the stack do what each asks for.
class Unpickler {
 public:
  Unpickler(std::string_view bytes, const std::string& source, std::deque<PickleValue>& values)
      : bytes_(bytes), at_{source}, stack_(values, at_) {}

  const PickleValue* run() {
    if (bytes_.size() > max_input_bytes) {
      at_.malformed("it is larger than the {} bytes allowed", max_input_bytes);
    }
    read_protocol();
    for (;;) {
      at_.opcode = static_cast<unsigned char>(take(1)[0]);
      if (at_.opcode == STOP) {
        return stack_.pop();
      }
      if (!read_scalar() && !read_container() && !read_object() && !read_stack_or_memo()) {
        at_.malformed("opcode {:#04x} is not one that Python writes with protocols 2 to 5", at_.opcode);
      }
      stack_.check_height();
    }
  }

 private:
  // --- bytes ---

  std::string_view take(uint64_t count) {
    const size_t left = bytes_.size() - at_.byte;
    if (count > left) {
      at_.malformed("it ends too early ({} bytes needed, {} left)", count, left);
    }
    const std::string_view taken = bytes_.substr(at_.byte, static_cast<size_t>(count));
    at_.byte += static_cast<size_t>(count);
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
    const size_t end = bytes_.find('\n', at_.byte);
    if (end == std::string_view::npos) {
      at_.malformed("a name has no end");
    }
    const std::string_view text = take(end - at_.byte);
    take(1);
    return text;
  }

  void read_protocol() {
    if (bytes_.size() < 2 || static_cast<unsigned char>(bytes_[0]) != PROTO) {
      at_.malformed("it is not a pickle of protocol 2 to 5; write it again with pickle.dump(..., protocol=4)");
    }
    at_.byte = 2;
    const int protocol = static_cast<unsigned char>(bytes_[1]);
    if (protocol < 2 || protocol > 5) {
      at_.malformed("protocol {} is not one of 2 to 5", protocol);
    }
  }

  // --- values ---

  void push_text(Kind kind, uint64_t length) {
    const std::string_view text = take(length);
    stack_.push(kind).text = text;
  }

  void push_integer(int64_t number) { stack_.push(Kind::integer).integer = number; }

  void push_long(uint64_t width) {
    const std::string_view digits = take(width);
    if (width > 8) {
      stack_.push(Kind::big_integer);
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
    stack_.push(Kind::real).real = number;
  }

  // --- opcodes; each function returns false where the opcode is not among its own ---

  bool read_scalar() {
    switch (at_.opcode) {
      case NONE:
        stack_.push(Kind::none);
        return true;
      case NEWTRUE:
        stack_.push(Kind::boolean).integer = 1;
        return true;
      case NEWFALSE:
        stack_.push(Kind::boolean).integer = 0;
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
    switch (at_.opcode) {
      case EMPTY_TUPLE:
        stack_.push(Kind::tuple);
        return true;
      case TUPLE:
        stack_.push_sequence(Kind::tuple, stack_.pop_to_mark());
        return true;
      case TUPLE1:
        stack_.push_sequence(Kind::tuple, stack_.pop_values(1));
        return true;
      case TUPLE2:
        stack_.push_sequence(Kind::tuple, stack_.pop_values(2));
        return true;
      case TUPLE3:
        stack_.push_sequence(Kind::tuple, stack_.pop_values(3));
        return true;
      case EMPTY_LIST:
        stack_.push(Kind::list);
        return true;
      case APPEND:
        stack_.extend(Kind::list, stack_.pop_values(1));
        return true;
      case APPENDS:
        stack_.extend(Kind::list, stack_.pop_to_mark());
        return true;
      case EMPTY_DICT:
        stack_.push(Kind::dict);
        return true;
      case SETITEM:
        stack_.extend(Kind::dict, stack_.pop_values(2));
        return true;
      case SETITEMS:
        stack_.extend(Kind::dict, stack_.pop_to_mark());
        return true;
      case EMPTY_SET:
        stack_.push(Kind::set);
        return true;
      case ADDITEMS:
        stack_.extend(Kind::set, stack_.pop_to_mark());
        return true;
      case FROZENSET:
        stack_.push_sequence(Kind::set, stack_.pop_to_mark());
        return true;
      default:
        return false;
    }
  }

  bool read_object() {
    switch (at_.opcode) {
      case GLOBAL: {
        const std::string_view module = line();
        stack_.push_global(module, line());
        return true;
      }
      case STACK_GLOBAL: {
        const std::vector<PickleValue*> names = stack_.pop_values(2);
        if (names[0]->kind != Kind::text || names[1]->kind != Kind::text) {
          at_.malformed("a name is not a string");
        }
        stack_.push_global(names[0]->text, names[1]->text);
        return true;
      }
      case REDUCE:
      case NEWOBJ: {
        const std::vector<PickleValue*> parts = stack_.pop_values(2);
        stack_.push_call(parts[0], parts[1]);
        return true;
      }
      case NEWOBJ_EX: {
        const std::vector<PickleValue*> parts =
            stack_.pop_values(3);  // keyword arguments come last; no call that is known has any
        stack_.push_call(parts[0], parts[1]);
        return true;
      }
      case BUILD: {
        // Attributes of an object. A dtype's say its byte order, and are read with its arguments.
        const PickleValue* state = stack_.pop();
        PickleValue* object = stack_.top();
        object->state = state;
        if (is_numpy_dtype(*object)) {
          stack_.attach(*object, state);
        }
        return true;
      }
      case BINPERSID:
        stack_.push_sequence(Kind::persistent_id, stack_.pop_values(1));
        return true;
      default:
        return false;
    }
  }

  bool read_stack_or_memo() {
    switch (at_.opcode) {
      case MARK:
        stack_.mark();
        return true;
      case POP:
        stack_.pop_value_or_mark();
        return true;
      case POP_MARK:
        stack_.pop_to_mark();
        return true;
      case DUP:
        stack_.push_top_again();
        return true;
      case BINPUT:
        stack_.memoize(unsigned_number(1));
        return true;
      case LONG_BINPUT:
        stack_.memoize(unsigned_number(4));
        return true;
      case MEMOIZE:
        stack_.memoize_next();
        return true;
      case BINGET:
        stack_.recall(unsigned_number(1));
        return true;
      case LONG_BINGET:
        stack_.recall(unsigned_number(4));
        return true;
      case FRAME:  // only tells a stream how much to buffer
        if (unsigned_number(8) > bytes_.size() - at_.byte) {
          at_.malformed("a frame is longer than what follows");
        }
        return true;
      default:
        return false;
    }
  }

  std::string_view bytes_;
  PicklePosition at_;
  PickleStack stack_;
};

}  // namespace

Pickle::Pickle(std::string_view bytes, const std::string& source) : root_(Unpickler(bytes, source, values_).run()) {}

}  // namespace demask

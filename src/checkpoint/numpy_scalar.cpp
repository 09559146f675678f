#include "checkpoint/numpy_scalar.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <string>

#include "core/utf8.h"

namespace demask {
namespace {

using Kind = PickleValue::Kind;

constexpr size_t max_bytes = 1024;  // 256 characters, above any token of a vocabulary

// Protocol 2 has no bytes: Python writes them as _codecs.encode(text, 'latin1'), each byte a code point below 256.
std::optional<std::string> latin1_bytes(std::string_view text) {
  std::string bytes;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto first = static_cast<unsigned char>(text[i]);
    if (first < 0x80) {
      bytes += text[i];
      continue;
    }
    const bool pair = (first == 0xc2 || first == 0xc3) && i + 1 < text.size() &&
                      (static_cast<unsigned char>(text[i + 1]) & 0xc0) == 0x80;
    if (!pair) {
      return std::nullopt;
    }
    ++i;
    bytes += static_cast<char>((first & 3) << 6 | (static_cast<unsigned char>(text[i]) & 0x3f));
  }
  return bytes;
}

std::optional<std::string> bytes_of(const PickleValue& value) {
  if (value.kind == Kind::bytes && value.text.size() <= max_bytes) {
    return value.text;
  }
  const bool encoded = is_call_of(value, "_codecs.encode", 2) && value.items[1]->kind == Kind::text &&
                       value.items[1]->text.size() <= 2 * max_bytes && value.items[2]->kind == Kind::text &&
                       (value.items[2]->text == "latin1" || value.items[2]->text == "latin-1");
  return encoded ? latin1_bytes(value.items[1]->text) : std::nullopt;
}

struct Dtype {
  char kind = ' ';   // as in numpy: b, i, u, f, U
  size_t count = 0;  // of bytes, or of characters in U
  bool big_endian = false;
};

// numpy.dtype('i8', False, True) with the state (3, '<', ...).
std::optional<Dtype> dtype_of(const PickleValue& value) {
  if (!is_numpy_dtype(value) || value.items[1]->kind != Kind::text || value.items[1]->text.size() < 2) {
    return std::nullopt;
  }
  const std::string& name = value.items[1]->text;
  Dtype dtype;
  dtype.kind = name[0];
  const auto [end, error] = std::from_chars(name.data() + 1, name.data() + name.size(), dtype.count);
  if (error != std::errc() || end != name.data() + name.size()) {
    return std::nullopt;
  }
  if (dtype.kind != 'U' && dtype.count == 1) {
    return dtype;  // one byte has no order
  }
  const PickleValue& state = *value.items.back();
  if (state.kind != Kind::tuple || state.items.size() < 2 || state.items[1]->kind != Kind::text ||
      (state.items[1]->text != "<" && state.items[1]->text != ">")) {
    return std::nullopt;
  }
  dtype.big_endian = state.items[1]->text == ">";
  return dtype;
}

// At most eight bytes, the least significant first.
uint64_t number_of(std::string_view bytes) {
  uint64_t number = 0;
  for (size_t i = bytes.size(); i-- > 0;) {
    number = number << 8 | static_cast<unsigned char>(bytes[i]);
  }
  return number;
}

void set_integer(uint64_t number, size_t width, bool is_signed, PickleValue& value) {
  if (is_signed && width < 8 && (number >> (8 * width - 1) & 1) != 0) {
    number |= ~uint64_t{0} << (8 * width);
  }
  const bool fits = is_signed || number <= static_cast<uint64_t>(INT64_MAX);
  value.kind = fits ? Kind::integer : Kind::big_integer;
  value.integer = fits ? static_cast<int64_t>(number) : 0;
}

double half_precision(uint64_t bits) {
  const int exponent = static_cast<int>(bits >> 10 & 0x1f);
  const auto fraction = static_cast<double>(bits & 0x3ff);
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == 0x1f) {
    return fraction == 0 ? sign * std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  }
  return sign * (exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(fraction + 1024, exponent - 25));
}

bool set_real(uint64_t bits, size_t width, PickleValue& value) {
  if (width == 8) {
    std::memcpy(&value.real, &bits, sizeof value.real);
  } else if (width == 4) {
    const auto narrow = static_cast<uint32_t>(bits);
    float number = 0;
    std::memcpy(&number, &narrow, sizeof number);
    value.real = number;
  } else if (width == 2) {
    value.real = half_precision(bits);
  } else {
    return false;
  }
  value.kind = Kind::real;
  return true;
}

// Empty for what is no code point.
std::string utf8_of(uint64_t point) {
  const bool surrogate = point >= 0xd800 && point < 0xe000;
  return surrogate || point > 0x10ffff ? "" : encode_utf8(static_cast<uint32_t>(point));
}

// Four bytes a character; NumPy pads with zeros.
bool set_text(std::string_view bytes, bool big_endian, PickleValue& value) {
  std::string text;
  while (bytes.size() >= 4 && bytes.substr(bytes.size() - 4).find_first_not_of('\0') == std::string_view::npos) {
    bytes.remove_suffix(4);
  }
  for (; !bytes.empty(); bytes.remove_prefix(4)) {
    std::string unit(bytes.substr(0, 4));
    if (big_endian) {
      std::reverse(unit.begin(), unit.end());
    }
    const std::string character = utf8_of(number_of(unit));
    if (character.empty()) {
      return false;
    }
    text += character;
  }
  value.kind = Kind::text;
  value.text = std::move(text);
  return true;
}

}  // namespace

bool makes_numpy_scalar(std::string_view global) {
  return global == "numpy.core.multiarray.scalar" || global == "numpy._core.multiarray.scalar";
}

bool is_numpy_dtype(const PickleValue& value) {
  return is_call_of(value, "numpy.dtype", 1);
}

bool read_numpy_scalar(const PickleValue& dtype_value, const PickleValue& bytes_value, PickleValue& value) {
  const std::optional<Dtype> dtype = dtype_of(dtype_value);
  std::optional<std::string> bytes = bytes_of(bytes_value);
  if (!dtype || !bytes) {
    return false;
  }
  if (dtype->kind == 'U') {
    return dtype->count <= max_bytes / 4 && bytes->size() == 4 * dtype->count &&
           set_text(*bytes, dtype->big_endian, value);
  }
  if (bytes->size() != dtype->count || bytes->empty() || bytes->size() > 8) {
    return false;
  }
  if (dtype->big_endian) {
    std::reverse(bytes->begin(), bytes->end());
  }
  const uint64_t number = number_of(*bytes);
  switch (dtype->kind) {
    case 'b':
      if (bytes->size() != 1) {
        return false;
      }
      value.kind = Kind::boolean;
      value.integer = number != 0 ? 1 : 0;
      return true;
    case 'i':
    case 'u':
      set_integer(number, bytes->size(), dtype->kind == 'i', value);
      return true;
    case 'f':
      return set_real(number, bytes->size(), value);
    default:
      return false;
  }
}

}  // namespace demask

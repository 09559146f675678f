#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <new>
#include <vector>

#include "core/utf8.h"

namespace demask {
namespace {

using Points = std::vector<utf8proc_int32_t>;

void decompose(uint32_t point, Points& points) {
  constexpr size_t longest = 18;  // of any decomposition
  utf8proc_int32_t parts[longest];
  const auto count =
      utf8proc_decompose_char(static_cast<utf8proc_int32_t>(point), parts, longest, UTF8PROC_DECOMPOSE, nullptr);
  if (count < 0 || count > static_cast<utf8proc_ssize_t>(longest)) {
    points.push_back(static_cast<utf8proc_int32_t>(point));
  } else {
    points.insert(points.end(), parts, parts + count);
  }
}

int combining_class(utf8proc_int32_t point) {
  return point < 0x300 ? 0 : utf8proc_get_property(point)->combining_class;
}

// Marks in the order of their classes. utf8proc's own ordering takes the square of a run's length.
void order_marks(Points& points) {
  const auto is_mark = [](utf8proc_int32_t point) { return combining_class(point) != 0; };
  for (auto begin = points.begin(); (begin = std::find_if(begin, points.end(), is_mark)) != points.end();) {
    const auto end = std::find_if_not(begin, points.end(), is_mark);
    std::stable_sort(begin, end, [](utf8proc_int32_t left, utf8proc_int32_t right) {
      return combining_class(left) < combining_class(right);
    });
    begin = end;
  }
}

}  // namespace

bool is_surely_nfc(std::string_view text) {
  constexpr unsigned char first_of_0300 = 0xCC;
  return std::all_of(text.begin(), text.end(),
                     [](char byte) { return static_cast<unsigned char>(byte) < first_of_0300; });
}

std::string to_nfc(std::string_view text) {
  if (is_surely_nfc(text)) {
    return std::string(text);
  }
  Points points;
  points.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const std::string_view rest = text.substr(i, 4);
    decompose(decode_utf8(rest), points);
    i += std::max(utf8_length(rest), size_t{1});
  }
  order_marks(points);
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  const auto length = utf8proc_normalize_utf32(points.data(), static_cast<utf8proc_ssize_t>(points.size()), options);
  std::string composed;
  composed.reserve(text.size());
  for (utf8proc_ssize_t i = 0; i < length; ++i) {
    composed += encode_utf8(static_cast<uint32_t>(points[static_cast<size_t>(i)]));
  }
  return composed;
}

bool is_white_space(uint32_t point) {
  return (point >= '\t' && point <= '\r') || point == ' ' || point == 0x85 || point == 0xA0 || point == 0x1680 ||
         (point >= 0x2000 && point <= 0x200A) || point == 0x2028 || point == 0x2029 || point == 0x202F ||
         point == 0x205F || point == 0x3000;
}

bool is_letter(uint32_t point) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(point));
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_ME;
}

bool is_word_character(uint32_t point) {
  // Symbols that are Alphabetic all the same.
  const bool is_lettered_symbol = (point >= 0x24B6 && point <= 0x24E9) || (point >= 0x1F130 && point <= 0x1F149) ||
                                  (point >= 0x1F150 && point <= 0x1F169) || (point >= 0x1F170 && point <= 0x1F189);
  const bool is_joiner = point == 0x200C || point == 0x200D;
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(point));
  return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NL) || category == UTF8PROC_CATEGORY_PC ||
         is_lettered_symbol || is_joiner;
}

}  // namespace demask

#include "core/text.h"

#include <fmt/format.h>
#include <locale.h>
#include <wchar.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include "core/utf8.h"

namespace demask {
namespace {

constexpr std::string_view ellipsis = "...";

struct CodePoints {
  uint32_t first, last;
};

// What glibc gives a width though nothing is to be seen. Sources: Unicode 15, the general categories Cc, Zs, Zl, Zp and
// of Cf the characters without a glyph (UnicodeData.txt), and Default_Ignorable_Code_Point but for variation selectors
// (DerivedCoreProperties.txt).
constexpr std::array<CodePoints, 20> invisible_points = {{
    {0x00, 0x1F},     {0x7F, 0xA0},     {0xAD, 0xAD},       {0x34F, 0x34F},     {0x61C, 0x61C},
    {0x115F, 0x1160}, {0x1680, 0x1680}, {0x17B4, 0x17B5},   {0x180E, 0x180E},   {0x2000, 0x200F},
    {0x2028, 0x202F}, {0x205F, 0x206F}, {0x3000, 0x3000},   {0x3164, 0x3164},   {0xFEFF, 0xFEFF},
    {0xFFA0, 0xFFA0}, {0xFFF0, 0xFFFB}, {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A}, {0xE0000, 0xE00FF},
}};

// The tables of characters, which a program that sets no locale does not get from wcwidth. Never freed.
locale_t unicode_tables() {
  static const locale_t tables = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  return tables;
}

}  // namespace

bool starts_with(std::string_view text, std::string_view beginning) {
  return text.substr(0, beginning.size()) == beginning;
}

bool ends_with(std::string_view text, std::string_view ending) {
  return text.size() >= ending.size() && text.substr(text.size() - ending.size()) == ending;
}

std::vector<std::string_view> split(std::string_view text, std::string_view separator) {
  std::vector<std::string_view> parts;
  for (size_t at = text.find(separator); at != std::string_view::npos; at = text.find(separator)) {
    parts.push_back(text.substr(0, at));
    text.remove_prefix(at + separator.size());
  }
  parts.push_back(text);
  return parts;
}

size_t edit_distance(std::string_view left, std::string_view right) {
  std::vector<size_t> row(right.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < left.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < right.size(); ++j) {
      const size_t replaced = diagonal + (left[i] == right[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

std::string_view nearest(std::string_view misspelt, const std::vector<std::string_view>& names) {
  const std::string_view compared = misspelt.substr(0, 100);
  return *std::min_element(names.begin(), names.end(), [compared](std::string_view left, std::string_view right) {
    return edit_distance(compared, left) < edit_distance(compared, right);
  });
}

std::string shorten(std::string_view text, size_t limit) {
  if (text.size() <= limit) {
    return std::string(text);
  }
  size_t kept = 0;
  while (kept < text.size()) {
    const size_t next = kept + std::max(utf8_length(text.substr(kept)), size_t{1});
    if (next + ellipsis.size() > limit) {
      break;
    }
    kept = next;
  }
  return std::string(text.substr(0, kept)).append(ellipsis);
}

int cell_width(uint32_t point) {
  if (point >= 0x20 && point < 0x7F) {
    return 1;
  }
  if (unicode_tables() == nullptr) {
    return point < 0x20 || (point >= 0x7F && point < 0xA0) ? -1 : 1;
  }
  const locale_t former = ::uselocale(unicode_tables());
  const int width = ::wcwidth(static_cast<wchar_t>(point));
  ::uselocale(former);
  return width;
}

bool is_invisible(uint32_t point) {
  const bool listed = std::any_of(invisible_points.begin(), invisible_points.end(), [point](const CodePoints& points) {
    return points.first <= point && point <= points.last;
  });
  return listed || cell_width(point) < 0;
}

std::string visible(std::string_view character) {
  if (character.size() != utf8_length(character)) {
    std::string bytes;
    for (const char byte : character) {
      bytes += fmt::format("\\x{:02x}", static_cast<unsigned>(static_cast<unsigned char>(byte)));
    }
    return bytes;
  }
  const uint32_t point = decode_utf8(character);
  switch (point) {
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    default:
      break;
  }
  if (!is_invisible(point)) {
    return std::string(character);
  }
  return point < 0x100     ? fmt::format("\\x{:02x}", point)
         : point < 0x10000 ? fmt::format("\\u{:04x}", point)
                           : fmt::format("\\U{:08x}", point);
}

std::string printable(std::string_view text, size_t limit) {
  std::string shown;
  size_t cut = 0;  // where the last character ends after which there is room for the ellipsis
  while (!text.empty()) {
    const size_t length = std::max(utf8_length(text), size_t{1});
    shown += visible(text.substr(0, length));
    text.remove_prefix(length);
    if (shown.size() > limit) {
      return shown.substr(0, cut).append(ellipsis);
    }
    if (limit - shown.size() >= ellipsis.size()) {
      cut = shown.size();
    }
  }
  return shown;
}

std::string printable_lines(std::string_view text) {
  std::string shown;
  for (const std::string_view character : characters_of(text)) {
    shown += character == "\n" || character == "\t" ? std::string(character) : visible(character);
  }
  return shown;
}

std::string quote(std::string_view text, size_t limit) {
  return "'" + printable(text, limit) + "'";
}

}  // namespace demask

#include "output/glyphs.h"

#include <locale.h>
#include <wchar.h>

#include <algorithm>
#include <numeric>

#include "output/readable.h"

namespace demask {
namespace {

// wcwidth asks the thread's locale, which is "C" in a program that sets none.
class Utf8Locale {
 public:
  Utf8Locale() : locale_(::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {
    if (locale_ != nullptr) {
      former_ = ::uselocale(locale_);
    }
  }
  Utf8Locale(const Utf8Locale&) = delete;
  Utf8Locale& operator=(const Utf8Locale&) = delete;
  ~Utf8Locale() {
    if (locale_ != nullptr) {
      ::uselocale(former_);
      ::freelocale(locale_);
    }
  }

  // Cells; below 0 for what cannot be shown.
  int width(uint32_t point) const {
    if (locale_ == nullptr) {
      return point < 0x80 ? 1 : -1;
    }
    return ::wcwidth(static_cast<wchar_t>(point));
  }

 private:
  locale_t locale_;
  locale_t former_ = nullptr;
};

std::string utf8(uint32_t point) {
  const auto continued = [point](int shift) { return static_cast<char>(0x80U | (point >> shift & 0x3FU)); };
  if (point < 0x80) {
    return {static_cast<char>(point)};
  }
  if (point < 0x800) {
    return {static_cast<char>(0xC0U | point >> 6), continued(0)};
  }
  return {static_cast<char>(0xE0U | point >> 12), continued(6), continued(0)};
}

bool is_between(uint32_t point, uint32_t low, uint32_t high) {
  return low <= point && point <= high;
}

// Choose the form of the character before them, in some terminals its width too.
bool selects_variation(uint32_t point) {
  return is_between(point, 0xFE00, 0xFE0F) || is_between(point, 0xE0100, 0xE01EF);
}

// Beyond those of visible(): direction marks, fillers, annotations and tags, which show nothing by themselves.
bool is_format(uint32_t point) {
  return point == 0x61C || point == 0x180E || point == 0x34F || point == 0x115F || point == 0x1160 || point == 0x3164 ||
         point == 0xFFA0 || is_between(point, 0xFFF9, 0xFFFB) || is_between(point, 0xE0000, 0xE0FFF);
}

bool is_blank(uint32_t point) {
  return point == 0xA0 || is_between(point, 0x2000, 0x200A) || point == 0x202F || point == 0x205F || point == 0x3000;
}

// What stands in for a character that must not reach the terminal; empty where it may.
std::string stand_in(std::string_view character) {
  constexpr uint32_t pictures = 0x2400, picture_of_delete = 0x2421, replacement = 0xFFFD;
  const uint32_t point = code_point_value(character);
  if (point == '\n') {
    return "⏎";
  }
  if (point < 0x20) {
    return utf8(pictures + point);
  }
  if (point == 0x7F) {
    return utf8(picture_of_delete);
  }
  if (is_blank(point)) {
    return "␣";
  }
  return is_format(point) || visible(character) != character ? utf8(replacement) : "";
}

}  // namespace

std::vector<Glyph> to_glyphs(std::string_view token) {
  const Utf8Locale locale;
  std::vector<Glyph> glyphs;
  bool takes_marks = false;  // the last glyph is a character of the token, or the circle in its place
  for (const std::string_view character : code_points(token)) {
    const uint32_t point = code_point_value(character);
    if (selects_variation(point) && takes_marks) {
      continue;
    }
    std::string shown = selects_variation(point) ? "\uFFFD" : stand_in(character);
    const int width = locale.width(point);
    if (shown.empty() && width == 0) {
      if (!takes_marks) {
        glyphs.push_back({"◌", 1});
        takes_marks = true;
      }
      glyphs.back().text += character;
      continue;
    }
    takes_marks = shown.empty() && width > 0;
    if (takes_marks) {
      glyphs.push_back({std::string(character), width});
    } else {
      glyphs.push_back({shown.empty() ? "\uFFFD" : shown, 1});
    }
  }
  if (glyphs.empty()) {
    glyphs.push_back({"\uFFFD", 1});  // a token without text still has a place
  }
  return glyphs;
}

int width_of(const std::vector<Glyph>& glyphs) {
  return std::accumulate(glyphs.begin(), glyphs.end(), 0,
                         [](int width, const Glyph& glyph) { return width + glyph.width; });
}

GlyphTable::GlyphTable(const Vocabulary& vocabulary, std::optional<int64_t> mask_token_id)
    : mask_{{"·", 1}}, unknown_{{"\uFFFD", 1}}, mask_token_id_(mask_token_id) {
  constexpr int widest_cell = 2;
  glyphs_.reserve(static_cast<size_t>(vocabulary.size()));
  for (int64_t id = 0; id < vocabulary.size(); ++id) {
    glyphs_.push_back(vocabulary.has_text(id) ? to_glyphs(vocabulary.token(id)) : unknown_);
    cell_width_ = std::max(cell_width_, width_of(glyphs_.back()));
    if (vocabulary.has_text(id) && vocabulary.token(id) == "\n") {
      line_end_ = id;
    }
  }
  cell_width_ = cell_width_ > widest_cell ? 0 : cell_width_;
}

const std::vector<Glyph>& GlyphTable::of(int64_t token) const {
  if (token == mask_token_id_) {
    return mask_;
  }
  const bool known = token >= 0 && token < static_cast<int64_t>(glyphs_.size());
  return known ? glyphs_[static_cast<size_t>(token)] : unknown_;
}

}  // namespace demask

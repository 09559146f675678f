#include "output/glyphs.h"

#include <algorithm>
#include <numeric>

#include "core/text.h"
#include "core/utf8.h"

namespace demask {
namespace {

bool is_between(uint32_t point, uint32_t low, uint32_t high) {
  return low <= point && point <= high;
}

// Choose the form of the character before them, in some terminals its width too.
bool selects_variation(uint32_t point) {
  return is_between(point, 0xFE00, 0xFE0F) || is_between(point, 0xE0100, 0xE01EF);
}

bool is_blank(uint32_t point) {
  return point == 0xA0 || is_between(point, 0x2000, 0x200A) || point == 0x202F || point == 0x205F || point == 0x3000;
}

// What stands in for a character that must not reach the terminal; empty where it may.
std::string stand_in(std::string_view character) {
  constexpr uint32_t pictures = 0x2400, picture_of_delete = 0x2421;
  const uint32_t point = decode_utf8(character);
  if (point == '\n') {
    return "⏎";
  }
  if (point < 0x20) {
    return encode_utf8(pictures + point);
  }
  if (point == 0x7F) {
    return encode_utf8(picture_of_delete);
  }
  if (is_blank(point)) {
    return "␣";
  }
  return is_invisible(point) || character.size() != utf8_length(character) ? encode_utf8(replacement_character) : "";
}

}  // namespace

std::vector<Glyph> to_glyphs(std::string_view token) {
  std::vector<Glyph> glyphs;
  bool takes_marks = false;  // the last glyph is a character of the token, or the circle in its place
  for (const std::string_view character : characters_of(token)) {
    const uint32_t point = decode_utf8(character);
    if (selects_variation(point) && takes_marks) {
      continue;
    }
    std::string shown = selects_variation(point) ? "\uFFFD" : stand_in(character);
    const int width = cell_width(point);
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

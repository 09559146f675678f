#include "output/glyphs.h"

#include <algorithm>
#include <numeric>
#include <utility>

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
  return is_invisible(point) ? encode_utf8(replacement_character) : "";
}

// Takes characters one after another and gives each to the piece in which it begins.
class GlyphMaker {
 public:
  // Those of the characters from here on go into `glyphs`.
  void begin_piece(std::vector<Glyph>& glyphs) { glyphs_ = &glyphs; }

  void add(std::string_view character) {
    const uint32_t point = decode_utf8(character);
    if (selects_variation(point) && base_ != nullptr) {
      return;
    }
    const std::string shown = selects_variation(point) ? "\uFFFD" : stand_in(character);
    const int width = cell_width(point);
    if (shown.empty() && width == 0) {
      if (base_ == nullptr) {
        base_ = put({"◌", 1});
      }
      base_->text += character;
    } else if (shown.empty() && width > 0) {
      base_ = put({std::string(character), width});
    } else {
      put({shown.empty() ? "\uFFFD" : shown, 1, point == '\n'});
    }
  }

  void add_part() { put({"\uFFFD", 1}); }

 private:
  Glyph* put(Glyph glyph) {
    base_ = nullptr;
    glyphs_->push_back(std::move(glyph));
    return &glyphs_->back();
  }

  std::vector<Glyph>* glyphs_ = nullptr;
  Glyph* base_ = nullptr;  // what a mark would stand on: the last glyph, unless it is a stand-in
};

}  // namespace

std::vector<std::vector<Glyph>> glyphs_of_pieces(const std::vector<std::string_view>& pieces) {
  std::string text;
  std::vector<size_t> ends;
  for (const std::string_view piece : pieces) {
    text += piece;
    ends.push_back(text.size());
  }
  std::vector<std::vector<Glyph>> glyphs(pieces.size());
  GlyphMaker maker;
  size_t piece = 0;
  const auto enter_piece_of = [&](size_t at) {
    while (ends[piece] <= at) {
      ++piece;
    }
    maker.begin_piece(glyphs[piece]);
  };
  for (size_t at = 0; at < text.size();) {
    const std::string_view rest = std::string_view(text).substr(at);
    const size_t length = utf8_part_length(rest), end = at + length;
    if (utf8_length(rest) > 0) {
      enter_piece_of(at);
      maker.add(rest.substr(0, length));
      at = end;
      continue;
    }
    for (; at < end; at = std::min(ends[piece], end)) {
      enter_piece_of(at);
      maker.add_part();
    }
  }
  return glyphs;
}

std::vector<Glyph> to_glyphs(std::string_view token) {
  std::vector<Glyph> glyphs = std::move(glyphs_of_pieces({token}).front());
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
    : vocabulary_(&vocabulary), mask_{{"·", 1}}, unknown_{{"\uFFFD", 1}}, mask_token_id_(mask_token_id) {
  // Of the 150,000 pieces that a vocabulary may have, a text shows few.
  if (vocabulary.characters()) {
    make_grid();
  }
}

void GlyphTable::make_grid() {
  constexpr int widest_cell = 2;
  glyphs_.reserve(static_cast<size_t>(vocabulary_->size()));
  cell_width_ = 1;
  for (int64_t id = 0; id < vocabulary_->size(); ++id) {
    glyphs_.push_back(vocabulary_->has_text(id) ? to_glyphs(vocabulary_->token(id)) : unknown_);
    cell_width_ = std::max(cell_width_, width_of(glyphs_.back()));
    if (vocabulary_->has_text(id) && vocabulary_->token(id) == "\n") {
      line_end_ = id;
    }
  }
  if (cell_width_ > widest_cell) {
    cell_width_ = 0;
    glyphs_.clear();
  }
}

const std::vector<Glyph>& GlyphTable::of(int64_t token) const {
  if (token == mask_token_id_) {
    return mask_;
  }
  const bool known = token >= 0 && token < static_cast<int64_t>(glyphs_.size());
  return known ? glyphs_[static_cast<size_t>(token)] : unknown_;
}

}  // namespace demask

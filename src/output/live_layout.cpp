#include "output/live_layout.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace demask {
namespace {

bool is_masked(const ShownToken& token) {
  return token.state == TokenState::masked;
}

// One that leaves is a mask already, and ends no line.
bool may_break(const ShownToken& token) {
  return !is_masked(token) && token.state != TokenState::leaving;
}

class Grid {
 public:
  Grid(const GlyphTable& glyphs, int columns, bool line_breaks)
      : glyphs_(glyphs), columns_(columns), line_breaks_(line_breaks) {}

  Layout lay_out(const std::vector<ShownToken>& tokens) {
    layout_.rows.push_back(0);
    for (size_t i = 0; i < tokens.size(); ++i) {
      const ShownToken& token = tokens[i];
      if (line_breaks_ && glyphs_.ends_line(token.id) && may_break(token)) {
        begin_row();
      } else {
        place(i, is_masked(token) ? glyphs_.mask() : glyphs_.of(token.id));
      }
    }
    return std::move(layout_);
  }

 private:
  void begin_row() {
    layout_.rows.push_back(layout_.slots.size());
    used_ = 0;
  }

  void place(size_t token, const std::vector<Glyph>& parts) {
    const int cell = glyphs_.cell_width();
    if (used_ + cell > columns_ && used_ > 0) {
      begin_row();
    }
    int width = 0;
    for (const Glyph& part : parts) {
      const Glyph& glyph = part.width <= columns_ ? part : glyphs_.narrow();
      if (used_ + glyph.width > columns_) {
        begin_row();
      }
      layout_.slots.push_back({token, glyph, 0});
      used_ += glyph.width;
      width += glyph.width;
    }
    const int blanks = std::min(std::max(cell - width, 0), columns_ - used_);
    layout_.slots.back().blanks = blanks;
    used_ += blanks;
  }

  const GlyphTable& glyphs_;
  int columns_;
  bool line_breaks_;
  int used_ = 0;  // cells of the last row
  Layout layout_;
};

class Flow {
 public:
  Flow(const GlyphTable& glyphs, int columns, bool line_breaks)
      : glyphs_(glyphs), columns_(columns), line_breaks_(line_breaks) {}

  Layout lay_out(const std::vector<ShownToken>& tokens) {
    layout_.rows.push_back(0);
    for (size_t i = 0; i < tokens.size();) {
      const size_t first = i;
      std::vector<std::string_view> pieces;
      for (; i < tokens.size() && !is_hidden(tokens[i]) && !glyphs_.piece(tokens[i].id).empty(); ++i) {
        pieces.push_back(glyphs_.piece(tokens[i].id));
      }
      const std::vector<std::vector<Glyph>> parts = glyphs_of_pieces(pieces);
      for (size_t k = 0; k < parts.size(); ++k) {
        place(first + k, parts[k], may_break(tokens[first + k]));
      }
      if (i < tokens.size()) {
        row_may_end_here();
        place(i, is_hidden(tokens[i]) ? glyphs_.mask() : glyphs_.unknown(), false);
        row_may_end_here();
        ++i;
      }
    }
    return std::move(layout_);
  }

 private:
  bool is_hidden(const ShownToken& token) const { return is_masked(token) || glyphs_.is_mask(token.id); }

  void place(size_t token, const std::vector<Glyph>& parts, bool breaks) {
    for (const Glyph& part : parts) {
      if (part.ends_line && breaks && line_breaks_) {
        begin_row(layout_.slots.size());
      } else {
        place(token, part.width <= columns_ ? part : glyphs_.narrow());
      }
    }
  }

  void place(size_t token, const Glyph& glyph) {
    const bool is_blank = glyph.text == " ", is_wide = glyph.width > 1;
    if (is_wide) {
      row_may_end_here();
    }
    if (used_ + glyph.width > columns_) {
      if (is_blank) {
        row_may_end_here();
        return;
      }
      begin_row(break_ > layout_.rows.back() ? break_ : layout_.slots.size());
    }
    layout_.slots.push_back({token, glyph, 0});
    used_ += glyph.width;
    if (is_blank || is_wide || glyph.ends_line) {
      row_may_end_here();
    }
  }

  void row_may_end_here() { break_ = layout_.slots.size(); }

  void begin_row(size_t first) {
    layout_.rows.push_back(first);
    used_ = 0;
    for (size_t i = first; i < layout_.slots.size(); ++i) {
      used_ += layout_.slots[i].glyph.width;
    }
  }

  const GlyphTable& glyphs_;
  int columns_;
  bool line_breaks_;
  int used_ = 0;      // cells of the last row
  size_t break_ = 0;  // the slot before which the last row may end; a row's first where it may not
  Layout layout_;
};

}  // namespace

Layout lay_out(const std::vector<ShownToken>& tokens, const GlyphTable& glyphs, int columns, bool line_breaks) {
  return glyphs.cell_width() > 0 ? Grid(glyphs, columns, line_breaks).lay_out(tokens)
                                 : Flow(glyphs, columns, line_breaks).lay_out(tokens);
}

}  // namespace demask

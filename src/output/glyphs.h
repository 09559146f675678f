// How tokens look in a terminal: text that fills a known number of cells and cannot steer it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/vocabulary.h"

namespace demask {

// What stands together: a character and the marks that combine with it.
struct Glyph {
  std::string text;
  int width = 1;  // cells, 1 or 2
};

// One glyph or more that stand for a token's text. A control character shows as its picture (U+2400 and on), a line
// end as ⏎, other invisible and direction-changing ones as U+FFFD or, for spaces, ␣; a mark without a base stands on ◌.
// Widths are those of wcwidth in C.UTF-8, whatever the locale.
std::vector<Glyph> to_glyphs(std::string_view token);

int width_of(const std::vector<Glyph>& glyphs);

// The glyphs of every token of a vocabulary.
class GlyphTable {
 public:
  GlyphTable(const Vocabulary& vocabulary, std::optional<int64_t> mask_token_id);

  // Never empty, whatever the id.
  const std::vector<Glyph>& of(int64_t token) const;
  const std::vector<Glyph>& mask() const { return mask_; }
  // In place of a glyph that is wider than the screen.
  const Glyph& narrow() const { return unknown_.front(); }
  // The token that ends a line.
  bool ends_line(int64_t token) const { return token == line_end_; }
  // Cells that every token takes, so that none moves another: those of the widest; 0 where some are wider than 2.
  int cell_width() const { return cell_width_; }

 private:
  std::vector<std::vector<Glyph>> glyphs_;  // by id
  std::vector<Glyph> mask_, unknown_;
  std::optional<int64_t> mask_token_id_, line_end_;
  int cell_width_ = 1;
};

}  // namespace demask

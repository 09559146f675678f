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
  int width = 1;           // cells, 1 or 2
  bool ends_line = false;  // stands for a line end
};

// One glyph or more that stand for a token's text. A control character shows as its picture (U+2400 and on), a line
// end as ⏎, other invisible and direction-changing ones as U+FFFD or, for spaces, ␣; a mark without a base stands on ◌.
// Bytes that are not UTF-8 show as U+FFFD, those that begin a character together as one. Widths are those of wcwidth in
// C.UTF-8, whatever the locale.
std::vector<Glyph> to_glyphs(std::string_view token);

// The same for pieces that follow one another, each of which may hold parts of characters: a character whose bytes are
// spread over several is a glyph of the first, and a mark at a piece's start stands on the character before it. Those
// that only go on with what others began have none. Each piece of what makes no whole character has a U+FFFD.
std::vector<std::vector<Glyph>> glyphs_of_pieces(const std::vector<std::string_view>& pieces);

int width_of(const std::vector<Glyph>& glyphs);

// How the tokens of a vocabulary are shown: in a grid, whose cells have one width, or flowing, each as wide as its
// text. In a grid no token moves another; its glyphs are made in advance. Word pieces flow.
class GlyphTable {
 public:
  // `vocabulary` must outlive the table.
  GlyphTable(const Vocabulary& vocabulary, std::optional<int64_t> mask_token_id);

  bool is_mask(int64_t token) const { return token == mask_token_id_; }
  // True for a mark of the model's own, such as the end of a text.
  bool is_special(int64_t token) const { return vocabulary_->is_special(token); }
  // The bytes that flow together with those beside them; empty for a token without text, which shows as `unknown`.
  std::string_view piece(int64_t token) const { return vocabulary_->piece(token); }

  // In a grid: never empty, whatever the id.
  const std::vector<Glyph>& of(int64_t token) const;
  const std::vector<Glyph>& mask() const { return mask_; }
  const std::vector<Glyph>& unknown() const { return unknown_; }
  // In place of a glyph that is wider than the screen.
  const Glyph& narrow() const { return unknown_.front(); }
  // In a grid: the token that ends a line.
  bool ends_line(int64_t token) const { return token == line_end_; }
  // Cells of each token of a grid, those of the widest; 0 where tokens flow: word pieces, and texts of a vocabulary of
  // which one takes more than 2.
  int cell_width() const { return cell_width_; }

 private:
  void make_grid();

  const Vocabulary* vocabulary_;
  std::vector<std::vector<Glyph>> glyphs_;  // by id; of a grid
  std::vector<Glyph> mask_, unknown_;
  std::optional<int64_t> mask_token_id_, line_end_;
  int cell_width_ = 0;
};

}  // namespace demask

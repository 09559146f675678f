// Where the tokens of a sample stand on a screen: in a grid, or flowing and wrapped as text is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "output/glyphs.h"

namespace demask {

enum class TokenState : uint8_t {
  given,    // by the prompt
  masked,   // before the step and after it, or not yet reached
  drawn,    // by this step, and kept
  kept,     // from an earlier step
  leaving,  // visible before this step, which masked it again; `id` is what stood there
};

struct ShownToken {
  int64_t id = 0;
  TokenState state = TokenState::masked;
  float probability = 1.0F;  // under which it was drawn; of a drawn or kept one
};

// A glyph of a token in its place.
struct Slot {
  size_t token = 0;
  Glyph glyph;
  int blanks = 0;  // that fill up its cell
};

struct Layout {
  std::vector<Slot> slots;
  std::vector<size_t> rows;  // the first slot of each
};

// In a grid tokens fill rows from the left, each in a cell of its own of glyphs.cell_width(). Where they flow, each
// takes as many cells as its text, and rows end between words; a blank that finds no room at a row's end is left out. A
// mask has one cell. With `line_breaks` a line end in the text ends the row, else it shows as ⏎. No glyph crosses the
// right edge.
Layout lay_out(const std::vector<ShownToken>& tokens, const GlyphTable& glyphs, int columns, bool line_breaks);

}  // namespace demask

// What the live view draws, as a pure function: a sample's tokens and the state of the run to the bytes of one frame.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "output/glyphs.h"
#include "output/live_layout.h"

namespace demask {

enum class Colours {
  none,     // attributes alone: bold, dim, reverse, struck through
  indexed,  // the 256 of xterm
  direct,   // 24 bits
};
// From the values of the environment, null where unset: NO_COLOR (no-color.org) and COLORTERM.
Colours choose_colours(const char* no_color, const char* colorterm);

// What is said about the run. Numbers of samples and steps count from 0.
struct LiveStatus {
  bool diffusion = true;
  int64_t sample = 0;   // of the batch
  int64_t samples = 1;  // in the batch
  int64_t index = 0;    // in the run
  int64_t step = -1;    // -1: none yet
  int64_t steps = 0;    // 0: nobody knows
  double masked_share = 0.0;
  double tokens_per_s = 0.0;  // 0: not known yet
  int64_t forwards = 0;
  bool paused = false;
  int64_t pace_ms = 0;  // each step is shown at least so long
};

struct ScreenSize {
  int rows = 24;
  int columns = 80;
};

// Which part of the sample is seen.
struct Viewport {
  int64_t top = 0;           // the first visible row of the text; draw_frame brings it into the text
  int64_t last_top = 0;      // set by draw_frame: where the end of the text is visible
  bool follows_end = false;  // keep the end of the text visible
  bool line_breaks = false;  // a line end in the text ends the row, else it shows as ⏎ and moves nothing
};

// Rows that show text: all but the header, the footer and, on screens that have room for it, the legend.
int text_rows(const ScreenSize& size);

// One frame: every row of the screen overwritten from its start and what remains of it erased, so that nothing
// flickers. Tokens stand as lay_out places them.
std::string draw_frame(const LiveStatus& status, const std::vector<ShownToken>& tokens, const GlyphTable& glyphs,
                       Colours colours, const ScreenSize& size, Viewport& viewport);

}  // namespace demask

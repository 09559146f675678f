#include "output/live_frame.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "core/utf8.h"
#include "output/readable.h"

namespace demask {
namespace {

constexpr int rows_for_legend = 8;

// Confidence in fifths, from orange over grey to blue, which people who confuse red and green tell apart. All have
// about the same luminance, 0.18, so that they are read on black (contrast 4.6) as on white (4.5).
struct Shade {
  std::string_view direct;
  std::string_view indexed;
  std::string_view label;
};
constexpr std::array<Shade, 5> shades = {{{"38;2;200;80;0", "38;5;166", "below 20%"},
                                          {"38;2;150;110;50", "38;5;137", "40%"},
                                          {"38;2;118;118;118", "38;5;243", "60%"},
                                          {"38;2;60;125;175", "38;5;67", "80%"},
                                          {"38;2;40;110;255", "38;5;27", "100%"}}};
constexpr std::string_view leaving_direct = "38;2;205;50;155", leaving_indexed = "38;5;162";

size_t shade_of(float probability) {
  if (!(probability > 0)) {  // NaN too, which a broken model gives
    return 0;
  }
  const float fifth = std::min(probability, 1.0F) * static_cast<float>(shades.size());
  return std::min(static_cast<size_t>(fifth), shades.size() - 1);
}

// The parameters of SGR, after a reset.
std::string style_of(const ShownToken& token, Colours colours) {
  switch (token.state) {
    case TokenState::given:
      return "";
    case TokenState::masked:
      return "2";
    case TokenState::drawn:
      return colours == Colours::none ? "1;4" : "1";
    case TokenState::leaving:
      return colours == Colours::none     ? "7;9"
             : colours == Colours::direct ? fmt::format("9;{}", leaving_direct)
                                          : fmt::format("9;{}", leaving_indexed);
    case TokenState::kept:
      break;
  }
  if (colours == Colours::none) {
    return "";
  }
  const Shade& shade = shades[shade_of(token.probability)];
  return std::string(colours == Colours::direct ? shade.direct : shade.indexed);
}

// Builds one row: text in styles, cut at the width of the screen.
class Row {
 public:
  explicit Row(int columns) : columns_(columns) {}

  int room() const { return columns_ - used_; }
  void add(std::string_view text, int width, std::string_view style = "") {
    if (width > room()) {
      return;
    }
    if (style != style_) {
      bytes_ += style.empty() ? "\x1b[0m" : fmt::format("\x1b[0;{}m", style);
      style_ = style;
    }
    bytes_ += text;
    used_ += width;
  }
  // Text of one cell a character.
  void add_plain(std::string_view text, std::string_view style = "") {
    for (const std::string_view character : characters_of(text)) {
      add(character, 1, style);
    }
  }
  // The cursor stays on a full row's last cell, which erasing to the end of the line would take too.
  std::string finish() {
    bytes_ += style_.empty() ? "" : "\x1b[0m";
    bytes_ += room() > 0 ? "\x1b[K" : "";
    return std::move(bytes_);
  }

 private:
  int columns_;
  int used_ = 0;
  std::string bytes_;
  std::string style_;
};

// As many of these as fit, in order, never one cut; the first is cut rather than left out.
void add_fitting(Row& row, const std::vector<std::string>& parts, std::string_view style, std::string_view separator) {
  bool first = true;
  for (const std::string& part : parts) {
    const auto needed = static_cast<int>(characters_of(part).size() + (first ? 0 : separator.size()));
    if (!first && needed > row.room()) {
      return;
    }
    row.add_plain(first ? "" : separator, style);
    row.add_plain(part, style);
    first = false;
  }
}

// A mark of the model's own is dim once it is there to stay, so that it is not read as text.
std::string style_of(const ShownToken& token, bool is_special, Colours colours) {
  const std::string style = style_of(token, colours);
  const bool stays = token.state == TokenState::given || token.state == TokenState::kept;
  return !is_special || !stays ? style : style.empty() ? "2" : "2;" + style;
}

std::string header(const LiveStatus& status, int columns, const std::string& place) {
  std::vector<std::string> parts;
  const std::string what = status.diffusion ? "Iteration" : "Token";
  parts.push_back(fmt::format("Sample {}/{} (index {})", status.sample + 1, status.samples, status.index));
  if (status.step < 0) {
    parts.push_back("starting");
  } else {
    parts.push_back(status.steps > 0 ? fmt::format("{} {}/{}", what, status.step + 1, status.steps)
                                     : fmt::format("{} {}", what, status.step + 1));
    if (status.diffusion) {
      parts.push_back(fmt::format("{:.1f}% masked", 100 * status.masked_share));
    }
  }
  if (status.paused) {
    parts.emplace_back("paused");
  }
  if (!place.empty()) {
    parts.push_back(place);
  }
  if (status.tokens_per_s > 0) {
    parts.push_back(fmt::format("{:.0f} tokens/s", status.tokens_per_s));
  }
  if (status.forwards > 0) {
    parts.push_back(fmt::format("{} {}", status.forwards, status.forwards == 1 ? "forward" : "forwards"));
  }
  Row row(columns);
  add_fitting(row, parts, "7", "  ");
  while (row.room() > 0) {
    row.add(" ", 1, "7");
  }
  return row.finish();
}

std::string footer(const LiveStatus& status, int columns) {
  std::vector<std::string> keys = {"q quit", status.paused ? "space go on" : "space pause"};
  if (status.paused) {
    keys.emplace_back(". one step");
  }
  if (status.samples > 1) {
    keys.emplace_back("n/p sample");
  }
  keys.push_back(status.pace_ms > 0 ? fmt::format("+/- pace {} ms", status.pace_ms) : "+/- pace none");
  keys.emplace_back("l line breaks");
  keys.emplace_back("↑↓ scroll");
  Row row(columns);
  add_fitting(row, keys, "2", "  ");
  return row.finish();
}

std::string legend(const LiveStatus& status, Colours colours, int columns) {
  const auto sample_of = [&](TokenState state, float probability = 1.0F) {
    return style_of({0, state, probability}, colours);
  };
  std::vector<std::pair<std::string, std::string>> parts;
  if (status.diffusion) {
    parts.emplace_back("· masked", sample_of(TokenState::masked));
  }
  parts.emplace_back("drawn now", sample_of(TokenState::drawn));
  if (status.diffusion) {
    parts.emplace_back("masked again", sample_of(TokenState::leaving));
  }
  if (colours != Colours::none) {
    for (size_t i = 0; i < shades.size(); ++i) {
      const float inside = (static_cast<float>(i) + 0.5F) / static_cast<float>(shades.size());
      parts.emplace_back(shades[i].label, sample_of(TokenState::kept, inside));
    }
  }
  Row row(columns);
  for (const auto& [text, style] : parts) {
    if (static_cast<int>(characters_of(text).size()) > row.room()) {
      break;
    }
    row.add_plain(text, style);
    row.add_plain("  ");
  }
  return row.finish();
}

}  // namespace

Colours choose_colours(const char* no_color, const char* colorterm) {
  if (no_color != nullptr && *no_color != '\0') {
    return Colours::none;
  }
  const std::string_view kind = colorterm == nullptr ? "" : colorterm;
  return kind == "truecolor" || kind == "24bit" ? Colours::direct : Colours::indexed;
}

int text_rows(const ScreenSize& size) {
  const int around = size.rows >= rows_for_legend ? 3 : size.rows >= 3 ? 2 : 1;
  return std::max(size.rows - around, 0);
}

std::string draw_frame(const LiveStatus& status, const std::vector<ShownToken>& tokens, const GlyphTable& glyphs,
                       Colours colours, const ScreenSize& size, Viewport& viewport) {
  const int columns = std::max(size.columns, 1);
  const Layout layout = lay_out(tokens, glyphs, columns, viewport.line_breaks);
  const auto rows = static_cast<int64_t>(layout.rows.size());
  const int64_t seen = text_rows(size);
  viewport.last_top = std::max<int64_t>(rows - seen, 0);
  viewport.top = viewport.follows_end ? viewport.last_top : std::clamp<int64_t>(viewport.top, 0, viewport.last_top);

  std::string frame;
  int row_number = 0;
  const auto add_row = [&](const std::string& bytes) { frame += fmt::format("\x1b[{};1H", ++row_number) + bytes; };
  add_row(header(
      status, columns,
      rows > seen && seen > 0 ? fmt::format("rows {}-{} of {}", viewport.top + 1, viewport.top + seen, rows) : ""));
  for (int64_t r = viewport.top; r < viewport.top + seen; ++r) {
    Row row(columns);
    const auto begin = static_cast<size_t>(r);
    const size_t first = r < rows ? layout.rows[begin] : layout.slots.size();
    const size_t last = r + 1 < rows ? layout.rows[begin + 1] : layout.slots.size();
    for (size_t i = first; i < last; ++i) {
      const Slot& slot = layout.slots[i];
      const ShownToken& token = tokens[slot.token];
      row.add(slot.glyph.text, slot.glyph.width, style_of(token, glyphs.is_special(token.id), colours));
      for (int blank = 0; blank < slot.blanks; ++blank) {
        row.add(" ", 1);
      }
    }
    add_row(row.finish());
  }
  if (size.rows >= rows_for_legend) {
    add_row(legend(status, colours, columns));
  }
  if (size.rows >= 3) {
    add_row(footer(status, columns));
  }
  return frame;
}

}  // namespace demask

// A terminal's screen as text, for the few sequences that a view may use: anything else is an error.
#pragma once

#include <algorithm>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "core/utf8.h"
#include "output/glyphs.h"
#include "output/readable.h"

namespace demask::testing {

struct Cell {
  std::string text = " ";  // empty: the second half of a wide character
  std::string style;       // SGR parameters since the last reset
  bool operator==(const Cell& other) const { return text == other.text && style == other.style; }
};

class VirtualScreen {
 public:
  VirtualScreen(int rows, int columns)
      : cells_(static_cast<size_t>(rows), std::vector<Cell>(static_cast<size_t>(columns))) {}

  // Throws where a character would go beyond the right edge, or a sequence is not among those known.
  void write(std::string_view bytes) {
    while (!bytes.empty()) {
      if (bytes.front() == '\x1b') {
        take_sequence(bytes);
        continue;
      }
      const std::string_view character = characters_of(bytes).front();
      bytes.remove_prefix(character.size());
      put(character);
    }
  }

  std::string row(size_t number) const {
    std::string text;
    for (const Cell& cell : cells_.at(number)) {
      text += cell.text;
    }
    return text.substr(0, text.find_last_not_of(' ') + 1);
  }
  const Cell& at(size_t row, size_t column) const { return cells_.at(row).at(column); }
  // Of all cells that show this text.
  std::set<std::string> styles_of(std::string_view text) const {
    std::set<std::string> styles;
    for (const auto& row : cells_) {
      for (const Cell& cell : row) {
        if (cell.text == text) {
          styles.insert(cell.style);
        }
      }
    }
    return styles;
  }

 private:
  void put(std::string_view character) {
    const auto lead = static_cast<unsigned char>(character.front());
    if (lead < 0x20 || lead == 0x7F) {
      throw std::runtime_error("a control character: " + repr(character));
    }
    const std::vector<Glyph> glyphs = to_glyphs(character);
    if (glyphs.size() == 1 && glyphs[0].text == "◌" + std::string(character)) {  // a mark, on what stands before it
      cells_.at(row_).at(column_ - 1).text += character;
      return;
    }
    const auto width = static_cast<size_t>(width_of(glyphs));
    if (column_ + width > cells_.at(row_).size()) {
      throw std::runtime_error("beyond the right edge: " + std::string(character));
    }
    cells_[row_][column_] = {std::string(character), style_};
    if (width == 2) {
      cells_[row_][column_ + 1] = {"", style_};
    }
    column_ += width;
  }

  void take_sequence(std::string_view& bytes) {
    const size_t end = bytes.find_first_of("HKm");
    if (bytes.substr(0, 2) != "\x1b[" || end == std::string_view::npos) {
      throw std::runtime_error("an unknown sequence: " + repr(bytes.substr(0, 10)));
    }
    const std::string parameters(bytes.substr(2, end - 2));
    if (bytes[end] == 'H') {
      row_ = std::stoul(parameters) - 1;
      column_ = std::stoul(parameters.substr(parameters.find(';') + 1)) - 1;
    } else if (bytes[end] == 'K') {
      // A terminal stays on the last cell of a full row, and would erase it.
      if (column_ >= cells_.at(row_).size()) {
        throw std::runtime_error("the last cell of a row is erased");
      }
      std::fill(cells_[row_].begin() + static_cast<std::ptrdiff_t>(column_), cells_[row_].end(), Cell{});
    } else {
      style_ = parameters.substr(0, 1) == "0" ? parameters.substr(std::min<size_t>(2, parameters.size()))
                                              : style_ + ";" + parameters;
    }
    bytes.remove_prefix(end + 1);
  }

  std::vector<std::vector<Cell>> cells_;
  size_t row_ = 0, column_ = 0;
  std::string style_;
};

}  // namespace demask::testing

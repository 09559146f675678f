#include "bench/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace demask::bench {

Table::Table(std::FILE* file, std::vector<Column> columns) : file_(file), columns_(std::move(columns)) {
  std::vector<std::string> titles;
  for (Column& column : columns_) {
    column.width = std::max(column.width, static_cast<int>(column.title.size()));
    titles.push_back(column.title);
  }
  row(titles);
}

void Table::row(const std::vector<std::string>& cells) {
  std::string line = fmt::format("{:<{}}", cells.front(), columns_.front().width);
  for (size_t i = 1; i < cells.size(); ++i) {
    line += fmt::format(" {:>{}}", cells[i], columns_[i].width);
  }
  fmt::print(file_, "{}\n", line);
  std::fflush(file_);  // a run takes minutes: show what there is
}

std::string show_seconds(std::optional<double> seconds) {
  return show(seconds, !seconds || *seconds >= 10 ? 2 : *seconds >= 1 ? 3 : *seconds >= 0.01 ? 4 : 6);
}

std::string show(std::optional<double> number, int decimals) {
  return number ? fmt::format("{:.{}f}", *number, decimals) : "-";
}

}  // namespace demask::bench

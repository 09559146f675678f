// A table for people, printed row by row while the rows are measured.
#pragma once

#include <cstdio>
#include <optional>
#include <string>
#include <vector>

namespace demask::bench {

struct Column {
  std::string title;
  int width = 0;  // at least the title's
};

// The first column stands to the left, the others to the right.
class Table {
 public:
  // Prints the head. `file` must outlive the table.
  Table(std::FILE* file, std::vector<Column> columns);
  // One cell a column.
  void row(const std::vector<std::string>& cells);

 private:
  std::FILE* file_;
  std::vector<Column> columns_;
};

// Seconds with the digits that matter; "-" where there are none.
std::string show_seconds(std::optional<double> seconds);

// With so many decimals; "-" where there is none.
std::string show(std::optional<double> number, int decimals);

}  // namespace demask::bench

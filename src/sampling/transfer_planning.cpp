#include "sampling/transfer_planning.h"

#include <algorithm>
#include <map>

#include "kernels/transfer_plan.h"

namespace demask {
namespace {

using Parts = std::vector<int32_t>;

// A matrix whose entries have numbers in the order of states and columns.
struct Level {
  std::vector<std::map<int32_t, Parts>> rows;  // [states], by column
  std::vector<int32_t> first;                  // number of a row's first entry, and of the one after the last row's

  void count() {
    first = {0};
    for (const auto& row : rows) {
      first.push_back(first.back() + static_cast<int32_t>(row.size()));
    }
  }
};

Level of_a_position(const FlatEdges& automaton) {
  Level level;
  level.rows.resize(automaton.first_edge.size() - 1);
  for (size_t state = 0; state < level.rows.size(); ++state) {
    for (int32_t edge = automaton.first_edge[state]; edge < automaton.first_edge[state + 1]; ++edge) {
      const auto at = 2 * static_cast<size_t>(edge);
      level.rows[state][automaton.edges[at + 1]].push_back(automaton.edges[at]);
    }
  }
  level.count();
  return level;
}

// The product of a matrix with another that has its entries.
Level squared(const Level& half) {
  Level level;
  for (size_t state = 0; state < half.rows.size(); ++state) {
    std::map<int32_t, Parts> row;
    int32_t left = half.first[state];
    for (const auto& between : half.rows[state]) {
      const auto middle = static_cast<size_t>(between.first);
      int32_t right = half.first[middle];
      for (const auto& after : half.rows[middle]) {
        row[after.first].push_back(left | right++ << 16);
      }
      ++left;
    }
    level.rows.push_back(std::move(row));
  }
  level.count();
  return level;
}

size_t widest_row(const Level& level) {
  size_t most = 0;
  for (const auto& row : level.rows) {
    most = std::max(most, row.size());
  }
  return most;
}

// The rows of a stretch's matrix side by side; rooms that no entry has are zero, of the first column.
std::vector<Parts> side_by_side(const Level& level, size_t row, std::vector<int32_t>& columns) {
  std::vector<Parts> entries(row * kernels::transfer_width);
  columns.assign(entries.size(), 0);
  for (size_t state = 0; state < level.rows.size(); ++state) {
    size_t at = state;
    for (const auto& entry : level.rows[state]) {
      entries[at] = entry.second;
      columns[at] = entry.first;
      at += kernels::transfer_width;
    }
  }
  return entries;
}

std::vector<Parts> one_by_one(const Level& level) {
  std::vector<Parts> entries;
  for (const auto& row : level.rows) {
    for (const auto& entry : row) {
      entries.push_back(entry.second);
    }
  }
  return entries;
}

void append(std::vector<int32_t>& packed, int level, const std::vector<Parts>& entries) {
  const auto at = static_cast<size_t>(kernels::plan_levels + 3 * level);
  packed[at] = static_cast<int32_t>(entries.size());
  packed[at + 1] = static_cast<int32_t>(packed.size());
  int32_t first = 0;
  packed.push_back(first);
  for (const Parts& parts : entries) {
    packed.push_back(first += static_cast<int32_t>(parts.size()));
  }
  packed[at + 2] = static_cast<int32_t>(packed.size());
  for (const Parts& parts : entries) {
    packed.insert(packed.end(), parts.begin(), parts.end());
  }
}

}  // namespace

std::vector<int32_t> transfer_plan(const FlatEdges& automaton) {
  using namespace kernels;
  if (automaton.first_edge.size() - 1 > transfer_width || automaton.classes > most_transfer_classes) {
    return {};
  }
  std::vector<int32_t> packed(plan_header_size);
  Level level = of_a_position(automaton);
  if (automaton.ended >= 0) {
    packed[plan_ended] = level.first[static_cast<size_t>(automaton.ended)];
    packed[plan_left] = level.first[static_cast<size_t>(automaton.ended) + 1];
  }
  for (int number = 0; number < transfer_levels; ++number) {
    const auto matrices = static_cast<int32_t>(stretch_positions >> number);
    if (matrices * level.first.back() > most_level_entries) {
      return {};
    }
    append(packed, number, one_by_one(level));
    level = squared(level);
  }
  const size_t row = widest_row(level);
  std::vector<int32_t> columns;
  append(packed, transfer_levels, side_by_side(level, row, columns));
  packed[plan_row] = static_cast<int32_t>(row);
  packed[plan_columns] = static_cast<int32_t>(packed.size());
  packed.insert(packed.end(), columns.begin(), columns.end());
  packed[plan_size] = static_cast<int32_t>(packed.size());
  return row == 0 || row > most_transfer_row || packed.size() > static_cast<size_t>(most_plan_numbers)
             ? std::vector<int32_t>{}
             : packed;
}

}  // namespace demask

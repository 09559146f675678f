// The README's table of strategies says what their entries say.
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "config/fields.h"
#include "config/literal_source.h"
#include "config/settle.h"
#include "sampling/strategies/strategy.h"
#include "tests/support/catch.h"

namespace demask {
namespace {

std::string without_blanks_around(const std::string& text) {
  const size_t start = text.find_first_not_of(' ');
  return start == std::string::npos ? "" : text.substr(start, text.find_last_not_of(' ') - start + 1);
}

// Cells of each row of the table that starts with the column `strategy`, by the strategy's name.
std::map<std::string, std::vector<std::string>> table_of_strategies() {
  std::ifstream file(DEMASK_SOURCE_DIR "/README.md");
  REQUIRE(file);
  std::map<std::string, std::vector<std::string>> rows;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    inside = line.rfind("| strategy |", 0) == 0 || (inside && line.rfind('|', 0) == 0);
    if (!inside || line.rfind("| `", 0) != 0) {
      continue;
    }
    std::vector<std::string> cells;
    std::istringstream stream(line.substr(1));
    for (std::string cell; std::getline(stream, cell, '|');) {
      cells.push_back(without_blanks_around(cell));
    }
    REQUIRE(cells.size() == 4);
    rows.emplace(cells[0].substr(1, cells[0].size() - 2), cells);
  }
  return rows;
}

// What stands between backticks.
std::set<std::string> quoted_in(const std::string& text) {
  std::set<std::string> found;
  std::istringstream stream(text);
  std::string part;
  for (bool quoted = false; std::getline(stream, part, '`'); quoted = !quoted) {
    if (quoted) {
      found.insert(part);
    }
  }
  return found;
}

// The strategy's settings where nothing is given, and with each value of a parameter that has a few.
std::vector<Config> settled_ways(const Strategy& strategy) {
  std::vector<Config> ways(1);
  for (const Parameter& parameter : strategy.parameters) {
    if (const auto* choices = std::get_if<Choices>(&parameter.rule)) {
      for (const std::string_view choice : *choices) {
        ways.emplace_back();
        ways.back().diffusion.parameters.set(parameter.name, std::string(choice));
      }
    }
  }
  for (Config& way : ways) {
    ParsedConfig parsed;
    parsed.config = way;
    parsed.config.diffusion.strategy = &strategy;
    parsed.config.diffusion.forwards = 32;  // some defaults follow them, and the table has those of so many
    settle(parsed);
    way = parsed.config;
  }
  return ways;
}

TEST_CASE("the README's table has every strategy, in the words and with the defaults of its entry, and no other") {
  const auto rows = table_of_strategies();
  CHECK(rows.size() == strategies().size());
  for (const Strategy& strategy : strategies()) {
    const auto row = rows.find(std::string(strategy.name));
    CAPTURE(strategy.name);
    REQUIRE(row != rows.end());
    CHECK(row->second[1] == strategy.summary);
    CHECK(row->second[2] == strategy.forwards);
    const std::set<std::string> quoted = quoted_in(row->second[3]);
    const std::vector<Config> ways = settled_ways(strategy);
    std::set<std::string> settings;
    for (const Field& field : fields()) {
      for (const Config& way : ways) {
        settings.insert(std::string(field.name) + "=" + to_source(value_of(field, way)));
      }
    }
    // Whatever the table sets is what is set...
    for (const std::string& setting : quoted) {
      CAPTURE(setting);
      CHECK((setting.find('=') == std::string::npos || settings.count(setting) == 1));
    }
    // ... and it has each parameter, each of its defaults with it or by itself.
    for (const Parameter& parameter : strategy.parameters) {
      for (const Config& way : ways) {
        const Literal value = value_of(*find_field(parameter.name), way);
        const std::string source = to_source(value), setting = std::string(parameter.name) + "=" + source;
        CAPTURE(setting);
        CHECK((value == Literal{} || quoted.count(setting) == 1 || quoted.count(source) == 1));
      }
    }
  }
}

TEST_CASE("strategies that share a parameter agree about its type, and none has one twice") {
  std::map<std::string_view, size_t> types;
  for (const Strategy& strategy : strategies()) {
    std::set<std::string_view> own;
    for (const Parameter& parameter : strategy.parameters) {
      CAPTURE(strategy.name, parameter.name);
      CHECK(own.insert(parameter.name).second);
      CHECK(types.emplace(parameter.name, parameter.value.index()).first->second == parameter.value.index());
    }
  }
}

TEST_CASE("every strategy has a name of its own, and says what it is; no other name is one") {
  std::set<std::string_view> names;
  for (const Strategy& strategy : strategies()) {
    CAPTURE(strategy.name);
    CHECK(names.insert(strategy.name).second);
    CHECK(find_strategy(strategy.name) == &strategy);
    CHECK_FALSE(strategy.summary.empty());
    CHECK_FALSE(strategy.source.empty());
  }
  CHECK(find_strategy("guess") == nullptr);
  CHECK(find_strategy("") == nullptr);
  ParsedConfig parsed;
  CHECK_FALSE(assign(*find_field("strategy"), Literal{std::string("guess")}, parsed));
}

}  // namespace
}  // namespace demask

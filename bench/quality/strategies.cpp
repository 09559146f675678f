#include "bench/quality/strategies.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <sstream>
#include <utility>

#include "core/error.h"
#include "sampling/strategies/strategy.h"

namespace demask::quality {
namespace {

// Each of demask's strategies, in the variants that it names itself.
std::vector<Strategy> built_in_strategies() {
  std::vector<Strategy> built_in;
  for (const demask::Strategy& strategy : strategies()) {
    const std::string name = fmt::format("--strategy={}", strategy.name);
    for (const Variant& variant : strategy.variants) {
      std::vector<std::string> arguments = {name};
      arguments.insert(arguments.end(), variant.arguments.begin(), variant.arguments.end());
      built_in.push_back({std::string(variant.label), std::move(arguments)});
    }
    if (strategy.variants.empty()) {
      built_in.push_back({std::string(strategy.name), {name}});
    }
  }
  return built_in;
}

std::vector<std::string> labels(const std::vector<Strategy>& strategies) {
  std::vector<std::string> labels;
  labels.reserve(strategies.size());
  for (const Strategy& strategy : strategies) {
    labels.push_back(strategy.label);
  }
  return labels;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> words;
  std::istringstream stream(text);
  for (std::string word; stream >> word;) {
    words.push_back(word);
  }
  return words;
}

std::string without_spaces_around(const std::string& text) {
  const size_t start = text.find_first_not_of(' ');
  return start == std::string::npos ? "" : text.substr(start, text.find_last_not_of(' ') - start + 1);
}

Strategy built_in(const std::string& label) {
  const std::vector<Strategy> known = built_in_strategies();
  const auto found = std::find_if(known.begin(), known.end(), [&](const Strategy& one) { return one.label == label; });
  if (found == known.end()) {
    fail(ExitCode::bad_usage,
         "no built-in strategy is called '{}'. There are {}. To give arguments of your own, write "
         "--strategy=\"LABEL: --key=value ...\".",
         label, fmt::join(labels(known), ", "));
  }
  return *found;
}

// Labels go into pictures and tables as they are.
void check_label(const std::string& label) {
  const bool printable = std::all_of(label.begin(), label.end(), [](char c) { return c >= ' ' && c <= '~'; });
  if (label.empty() || !printable) {
    fail(ExitCode::bad_usage, "--strategy='{}': a label is one or more printable ASCII characters.", label);
  }
}

Strategy parse_strategy(const std::string& request) {
  const size_t colon = request.find(':');
  const std::string label = without_spaces_around(request.substr(0, colon));
  check_label(label);
  return colon == std::string::npos ? built_in(label) : Strategy{label, split(request.substr(colon + 1))};
}

// Whether there was one.
bool replace_all(std::string& text, const std::string& what, const std::string& by) {
  bool found = false;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size())) {
    text.replace(at, what.size(), by);
    found = true;
  }
  return found;
}

}  // namespace

std::vector<Strategy> select_strategies(const std::vector<std::string>& requests) {
  if (requests.empty()) {
    return built_in_strategies();
  }
  std::vector<Strategy> selected;
  for (const std::string& request : requests) {
    Strategy strategy = parse_strategy(request);
    const std::vector<std::string> before = labels(selected);
    if (std::find(before.begin(), before.end(), strategy.label) != before.end()) {
      fail(ExitCode::bad_usage, "two strategies are called '{}'. Give each a label of its own.", strategy.label);
    }
    selected.push_back(std::move(strategy));
  }
  return selected;
}

std::vector<std::string> arguments_for(const Strategy& strategy, int64_t forwards) {
  std::vector<std::string> arguments = strategy.arguments;
  bool replaced = false;
  for (std::string& argument : arguments) {
    replaced |= replace_all(argument, "{N}", fmt::format("{}", forwards));
    replaced |= replace_all(argument, "{N/2}", fmt::format("{}", std::max<int64_t>(forwards / 2, 1)));
  }
  if (!replaced) {
    arguments.push_back(fmt::format("--forwards={}", forwards));
  }
  return arguments;
}

}  // namespace demask::quality

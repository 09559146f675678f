#include "bench/quality/rows_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string>

namespace demask::quality {
namespace {

nlohmann::ordered_json estimate_json(const Estimate& estimate) {
  return {{"value", estimate.value}, {"se", estimate.standard_error}, {"se_seeds", estimate.seeds_error}};
}

double number_of(const nlohmann::ordered_json& json) {
  return json.is_null() ? std::numeric_limits<double>::quiet_NaN() : json.get<double>();
}

std::string line_label(const nlohmann::ordered_json& row) {
  const auto label = row.at("strategy").get<std::string>();
  const bool is_swept = !row.at("forwards_asked").is_null() && !row.at("temperature").is_null();
  return is_swept ? fmt::format("{}, T {:g}", label, row["temperature"].get<double>()) : label;
}

}  // namespace

nlohmann::ordered_json measured_json(const Measured& measured) {
  nlohmann::ordered_json json;
  json["texts"] = measured.texts;
  for (const Measure& measure : measures) {
    json[measure.key] = estimate_json(measured.quality.*measure.estimate);
  }
  for (size_t i = 0; i < distance_terms.size(); ++i) {
    const Estimate& term = measured.distances.terms[i];
    json["distances"][distance_terms[i]] = {{"value", term.value}, {"se", term.standard_error}};
  }
  json["longest_run"] = measured.quality.longest_run;
  json["repeating_texts"] = measured.quality.repeating;
  return json;
}

Quality quality_of(const nlohmann::ordered_json& measured) {
  Quality quality;
  for (const Measure& measure : measures) {
    const auto& json = measured.at(measure.key);
    quality.*measure.estimate = {number_of(json.at("value")), number_of(json.at("se")), number_of(json.at("se_seeds"))};
  }
  quality.longest_run = measured.at("longest_run").get<int64_t>();
  quality.repeating = measured.at("repeating_texts").get<int64_t>();
  return quality;
}

std::vector<FrontierLine> lines_of(const nlohmann::ordered_json& rows) {
  std::vector<FrontierLine> lines;
  for (const auto& row : rows) {
    const std::string label = line_label(row);
    auto line = std::find_if(lines.begin(), lines.end(), [&](const FrontierLine& one) { return one.label == label; });
    if (line == lines.end()) {
      line = lines.insert(lines.end(), FrontierLine{label, {}});
    }
    if (!row.contains("failed")) {
      line->points.push_back({row.at("forwards").get<double>(), quality_of(row)});
    }
  }
  for (FrontierLine& line : lines) {
    std::stable_sort(line.points.begin(), line.points.end(), [](const FrontierPoint& left, const FrontierPoint& right) {
      return left.forwards < right.forwards;
    });
  }
  return lines;
}

}  // namespace demask::quality

#include "output/read_trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <map>
#include <optional>
#include <string_view>

#include "core/error.h"
#include "core/json.h"
#include "output/output_file.h"
#include "output/trace_format.h"

namespace demask {
namespace {

using Json = nlohmann::ordered_json;

// Of a table's JSON: whether it is one, with data of its type and shape.
bool is_table(const Json& table, size_t dimensions) {
  static const std::map<std::string, size_t> widths{{"uint8", 1}, {"uint16", 2}, {"uint32", 4}};
  if (!table.is_object() || !table.contains("type") || !table.contains("shape") || !table.contains("data") ||
      !table["type"].is_string() || !table["shape"].is_array() || !table["data"].is_string() ||
      table["shape"].size() != dimensions) {
    return false;
  }
  const auto width = widths.find(table["type"].get<std::string>());
  if (width == widths.end()) {
    return false;
  }
  constexpr size_t most_elements = size_t{1} << 32U;
  size_t bytes = width->second;
  for (const Json& size : table["shape"]) {
    if (!size.is_number_unsigned() || size.get<size_t>() > most_elements) {
      return false;
    }
    bytes *= size.get<size_t>();
    if (bytes > most_elements) {
      return false;
    }
  }
  const auto& data = table["data"].get_ref<const std::string&>();
  const size_t significant = std::min(data.find('='), data.size());
  return data.size() == (bytes + 2) / 3 * 4 && significant == (bytes * 8 + 5) / 6 &&
         std::all_of(data.begin(), data.begin() + static_cast<std::ptrdiff_t>(significant), [](char c) {
           return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
         });
}

// The first member that is not as the format has it; empty where all are.
std::string flaw_of_sample(const Json& sample) {
  if (!sample.is_object()) {
    return "samples";
  }
  for (const char* name : {"index", "seed", "self_confidence"}) {
    if (!sample.contains(name) || !sample[name].is_number()) {
      return name;
    }
  }
  for (const char* name : {"tokens", "states", "confidence", "likeliest", "likeliest_probabilities"}) {
    if (!sample.contains(name) || !is_table(sample[name], 2)) {
      return name;
    }
  }
  if (!sample.contains("final_confidence") || !is_table(sample["final_confidence"], 1)) {
    return "final_confidence";
  }
  if (!sample.contains("judged") || !(sample["judged"].is_null() || is_table(sample["judged"], 2))) {
    return "judged";
  }
  const Json& shape = sample["tokens"]["shape"];
  for (const char* name : {"states", "confidence", "judged"}) {
    if (!sample[name].is_null() && sample[name]["shape"] != shape) {
      return name;
    }
  }
  if (sample["final_confidence"]["shape"][0] != shape[1] || shape[0] == 0 || shape[1] == 0) {
    return "final_confidence";
  }
  const auto is_pair = [](const Json& pair) {
    return pair.is_array() && pair.size() == 2 && pair[0].is_number_unsigned() && pair[1].is_number_unsigned();
  };
  if (!sample.contains("given") || !sample["given"].is_array() ||
      !std::all_of(sample["given"].begin(), sample["given"].end(), is_pair)) {
    return "given";
  }
  if (!sample.contains("scheduled") ||
      !(sample["scheduled"].is_null() || (sample["scheduled"].is_array() && sample["scheduled"].size() == shape[0]))) {
    return "scheduled";
  }
  return "";
}

std::optional<size_t> place_in(std::string_view digits, size_t places) {
  size_t place = 0;
  const char* const end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, place);
  return error == std::errc() && stop == end && place < places ? std::optional(place) : std::nullopt;
}

// What traces of word pieces say of them besides, which others may lack.
std::string flaw_of_pieces(const Json& trace) {
  const size_t tokens = trace["tokens"].size();
  const auto is_hex = [](const Json& text) {
    if (!text.is_string()) {
      return false;
    }
    const auto& digits = text.get_ref<const std::string&>();
    return !digits.empty() && digits.size() % 2 == 0 &&
           digits.find_first_not_of("0123456789abcdef") == std::string::npos;
  };
  if (const auto bytes = trace.find("token_bytes"); bytes != trace.end()) {
    if (!bytes->is_object()) {
      return "token_bytes";
    }
    for (const auto& [place, hex] : bytes->items()) {
      if (!place_in(place, tokens) || !is_hex(hex)) {
        return "token_bytes";
      }
    }
  }
  const auto is_place = [&](const Json& place) { return place.is_number_unsigned() && place.get<size_t>() < tokens; };
  if (const auto special = trace.find("special_tokens");
      special != trace.end() && (!special->is_array() || !std::all_of(special->begin(), special->end(), is_place))) {
    return "special_tokens";
  }
  return "";
}

std::string flaw_of(const Json& trace) {
  for (const char* name : {"method", "title", "command"}) {
    if (!trace.contains(name) || !trace[name].is_string()) {
      return name;
    }
  }
  const auto is_text = [](const Json& text) { return text.is_string() || text.is_null(); };
  if (!trace.contains("tokens") || !trace["tokens"].is_array() ||
      !std::all_of(trace["tokens"].begin(), trace["tokens"].end(), is_text)) {
    return "tokens";
  }
  if (std::string flaw = flaw_of_pieces(trace); !flaw.empty()) {
    return flaw;
  }
  if (!trace.contains("description") || !trace["description"].is_array()) {
    return "description";
  }
  if (!trace.contains("run") || !trace["run"].is_object()) {
    return "run";
  }
  if (!trace.contains("samples") || !trace["samples"].is_array() || trace["samples"].empty()) {
    return "samples";
  }
  for (const Json& sample : trace["samples"]) {
    if (std::string flaw = flaw_of_sample(sample); !flaw.empty()) {
      return flaw;
    }
  }
  return "";
}

}  // namespace

Json read_trace(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    fail(ExitCode::bad_input, "trace '{}' cannot be read: {}", path, last_error());
  }
  // What is read is written into a report, by recursion.
  constexpr int deepest = 16;
  const auto within_bounds = [&](int depth, Json::parse_event_t, const Json&) {
    if (depth > deepest) {
      fail(ExitCode::bad_input, "'{}' is no trace: its JSON nests too deep. --trace=FILE.json writes one.", path);
    }
    return true;
  };
  Json trace;
  try {
    trace = Json::parse(file, within_bounds);
  } catch (const Json::exception& error) {
    fail(ExitCode::bad_input, "'{}' is no trace: it is not JSON ({}). --trace=FILE.json writes one.", path,
         json_error_reason(error.what()));
  }
  if (!trace.is_object() || !trace.contains("format") || trace["format"] != trace_format) {
    fail(ExitCode::bad_input, "'{}' is no trace of demask. --trace=FILE.json writes one.", path);
  }
  if (!trace.contains("version") || trace["version"] != trace_version) {
    fail(ExitCode::bad_input,
         "'{}' is a trace of version {}, and this demask reads version {}: make it again with this demask{}.", path,
         trace.contains("version") ? dump_json(trace["version"]) : "none", trace_version,
         trace.contains("command") && trace["command"].is_string()
             ? fmt::format(" by '{} --trace=...'", trace["command"].get<std::string>())
             : "");
  }
  if (const std::string flaw = flaw_of(trace); !flaw.empty()) {
    fail(ExitCode::bad_input, "trace '{}' is damaged: its '{}' is missing or not as docs/trace.md has it.", path, flaw);
  }
  return trace;
}

}  // namespace demask

#include "core/json.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <vector>

#include "core/text.h"

namespace demask {
namespace {

using nlohmann::json;

// Watches a parse and ends it where the text breaks a bound.
class JsonBounds {
 public:
  explicit JsonBounds(int deepest) : deepest_(deepest) {}

  bool operator()(int depth, json::parse_event_t event, const json& value) {
    if (depth > deepest_) {
      throw JsonFlaw(fmt::format("its JSON nests deeper than {} levels", deepest_));
    }
    if (event == json::parse_event_t::object_start) {
      keys_.emplace_back();
    } else if (event == json::parse_event_t::object_end) {
      keys_.pop_back();
    } else if (event == json::parse_event_t::key) {
      const auto& key = value.get_ref<const std::string&>();
      if (!keys_.back().insert(key).second) {
        throw JsonFlaw(fmt::format("it has the key {} twice", quote(key)));
      }
    }
    return true;
  }

 private:
  int deepest_;
  std::vector<std::unordered_set<std::string>> keys_;  // of each object that is open
};

}  // namespace

std::string dump_json(const nlohmann::json& value, int indent) {
  return value.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string dump_json(const nlohmann::ordered_json& value, int indent) {
  return value.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::string json_number(double number) {
  return std::isfinite(number) ? dump_json(nlohmann::json(number)) : "null";
}

std::string dump_json(const std::string& text) {
  return dump_json(nlohmann::json(text));
}

json parse_json(std::string_view text, int deepest) {
  JsonBounds bounds(deepest);
  const auto within_bounds = [&](int depth, json::parse_event_t event, const json& value) {
    return bounds(depth, event, value);
  };
  try {
    return json::parse(text.begin(), text.end(), within_bounds);
  } catch (const json::exception& error) {
    throw JsonFlaw(fmt::format("it is not JSON: {}", json_error_reason(error.what())));
  }
}

std::string_view json_error_reason(const char* what) {
  std::string_view reason = what;
  if (const size_t end = reason.find("] "); starts_with(reason, "[json.exception.") && end != std::string_view::npos) {
    reason.remove_prefix(end + 2);
  }
  return reason;
}

}  // namespace demask

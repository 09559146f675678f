// Settings of strategies as a config file has them, and what becomes of them.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/fields.h"
#include "config/literal_source.h"
#include "config/settle.h"
#include "core/error.h"
#include "tests/support/catch.h"

namespace demask::strategy_settings {

// Each "key=value", the value as a config file has it.
using Settings = std::vector<std::string>;

inline const Field& strategy_field(const std::string& name) {
  const Field* field = find_field(name);
  REQUIRE(field != nullptr);
  return *field;
}

inline ParsedConfig given(const Settings& settings) {
  ParsedConfig parsed;
  for (const std::string& setting : settings) {
    CAPTURE(setting);
    const size_t equals = setting.find('=');
    const auto literal = parse_literal(setting.substr(equals + 1));
    REQUIRE(literal);
    REQUIRE(assign(strategy_field(setting.substr(0, equals)), *literal, parsed));
  }
  return parsed;
}

inline Config settled(const Settings& settings) {
  ParsedConfig parsed = given(settings);
  settle(parsed);
  return parsed.config;
}

// The message of the Error(bad_usage) that they are refused with; empty where they are accepted.
inline std::string refusal(const Settings& settings) {
  ParsedConfig parsed = given(settings);
  try {
    settle(parsed);
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::bad_usage);
    return error.what();
  }
  return "";
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Of a text.
inline std::string setting(std::string_view key, std::string_view text) {
  return std::string(key) + "='" + std::string(text) + "'";
}

inline std::string default_of(const Field& field) {
  return std::string(field.name) + "=" + to_source(value_of(field, Config{}));
}

inline Settings with(Settings settings, const Settings& more) {
  settings.insert(settings.end(), more.begin(), more.end());
  return settings;
}

// The keys that differ from their defaults, `strategy` itself left out, and that diffusion has no top_k unless one is
// given.
inline std::set<std::string> changed(const Config& config) {
  std::set<std::string> keys;
  Config usual;
  if (config.sampling_method == SamplingMethod::diffusion && !config.top_k) {
    usual.top_k.reset();
  }
  for (const Field& field : fields()) {
    if (field.name != "strategy" && !(value_of(field, config) == value_of(field, usual))) {
      keys.emplace(field.name);
    }
  }
  return keys;
}

// The same, each with its value.
inline std::set<std::string> changes(const Config& config) {
  std::set<std::string> settings;
  for (const std::string& key : changed(config)) {
    settings.insert(key + "=" + to_source(value_of(strategy_field(key), config)));
  }
  return settings;
}

inline const Choices& all_strategies() {
  return std::get<Choices>(strategy_field("strategy").rule);
}

inline std::set<std::string> takers(const Field& field) {
  std::set<std::string> names;
  const std::string listed = std::string(field.strategies) + ", ";
  for (size_t start = 0, end = 0; (end = listed.find(", ", start)) != std::string::npos; start = end + 2) {
    names.insert(listed.substr(start, end - start));
  }
  return names;
}

inline std::vector<Field> strategy_fields() {
  std::vector<Field> found;
  for (const Field& field : fields()) {
    if (!field.strategies.empty()) {
      found.push_back(field);
    }
  }
  return found;
}

// The key with a value that it takes and that is not its default.
inline std::string other_than_default(const Field& field) {
  for (const char* source : {"0.25", "7", "False", "[0.5]", "'cosine'", "'rescore'", "'rescale'", "'best'", "'dual'"}) {
    ParsedConfig parsed;
    if (assign(field, *parse_literal(source), parsed) &&
        !(value_of(field, parsed.config) == value_of(field, Config{}))) {
      return std::string(field.name) + "=" + source;
    }
  }
  FAIL("no value for " << field.name);
  return "";
}

// What a key needs beside it to make sense.
inline Settings companions(const std::string& key) {
  if (key == "schedule_power") {
    return {"schedule_type='power'"};
  }
  if (key == "t_on" || key == "t_off" || key == "alpha_on") {
    return {"remdm='loop'"};
  }
  return {};
}

// Every strategy, and every kind of those that have kinds.
inline std::vector<Settings> every_strategy() {
  std::vector<Settings> all;
  for (const std::string_view name : all_strategies()) {
    all.push_back({setting("strategy", name)});
  }
  for (const std::string_view kind : std::get<Choices>(strategy_field("remdm").rule)) {
    all.push_back({"strategy='remdm'", setting("remdm", kind)});
  }
  return all;
}

}  // namespace demask::strategy_settings

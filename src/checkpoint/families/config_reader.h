// Reads the fields of a config.json, each with its bounds, and refuses by name what demask does not compute.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/transformer_description.h"

namespace demask {

// A field of which demask computes some values only. A field that is missing or null has one of them.
struct FixedField {
  std::string_view key;
  std::vector<std::string_view> allowed;  // JSON: "false", "\"silu\""; none: null alone
  std::string_view otherwise;             // what another value asks for: "attention in a sliding window"
};

// Every function throws Error(bad_input) that names the file, the field, its value and what is allowed. Where nothing
// else is said a field that is null counts as missing.
class ConfigReader {
 public:
  // `path` names the file. Both must outlive the reader.
  ConfigReader(const nlohmann::json& object, const std::string& path) : object_(object), path_(path) {}

  bool has(std::string_view key) const { return find(key) != nullptr; }

  // An integer from `smallest` to `largest` that must be there.
  int64_t size(std::string_view key, int64_t largest, int64_t smallest = 1) const;
  std::optional<int64_t> optional_size(std::string_view key, int64_t largest, int64_t smallest = 1) const;

  // A number above `above` and at most `largest` that must be there.
  double number(std::string_view key, double above, double largest) const;

  bool flag(std::string_view key, bool missing) const;
  std::optional<bool> optional_flag(std::string_view key) const;

  std::optional<std::string> optional_text(std::string_view key) const;

  // False for `usual` or a missing field, true for `other`.
  bool is_other(std::string_view key, std::string_view usual, std::string_view other) const;

  // The activation that a field of this name asks for, by its names in the field's libraries; must be there.
  Activation activation(std::string_view key) const;

  void check(const std::vector<FixedField>& fields) const;

  // The fields of an object in this one, which must outlive the reader that is returned.
  std::optional<ConfigReader> inner(std::string_view key) const;

  [[noreturn]] void refuse(const std::string& why) const;
  // The same: "'n_head' is -3; expected an integer from 1 to 10".
  [[noreturn]] void refuse_value(std::string_view key, const std::string& expected) const;

 private:
  ConfigReader(const nlohmann::json& object, const std::string& path, std::string outer)
      : object_(object), path_(path), outer_(std::move(outer)) {}
  const nlohmann::json* find(std::string_view key) const;
  std::string name(std::string_view key) const;

  const nlohmann::json& object_;
  const std::string& path_;
  std::string outer_;  // "rope_scaling." of an inner object
};

}  // namespace demask

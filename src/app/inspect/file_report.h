// What a file is, as facts in order, for people and for programs alike.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "core/error.h"

namespace demask {

struct FileReport {
  nlohmann::ordered_json facts = nlohmann::ordered_json::object();
  std::optional<Error> refusal;  // what reading the file in earnest ends with, where demask does not take it

  // Keeps the refusal, and puts it among the facts.
  void refuse(const Error& error) {
    refusal = error;
    facts["refused"] = error.what();
  }
};

// The facts as indented lines, "label  value"; the names of tensors that differ in a layer's number stand in one line.
std::string to_text(const FileReport& report);

}  // namespace demask

// One way of sampling, made ready: diffusion or standard, with its model, policy and text.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "demask/app/session.h"
#include "demask/sampling/sample.h"

namespace demask {

struct Method {
  // Draws the samples first_index .. first_index + count - 1; the observer may be null.
  std::function<std::vector<Sample>(int64_t first_index, int64_t count, Observer* observer)> draw;
  std::function<int64_t()> forwards;                        // model calls so far
  int64_t length = 0;                                       // tokens of a sample, prompt included
  int64_t generated = 0;                                    // of them drawn
  std::vector<std::pair<std::string, std::string>> header;  // label and value, for people
};

// Makes the method that the configuration asks for. `session` must outlive it.
// Throws Error where model, text and settings do not fit together.
Method make_method(const Session& session, const ParsedConfig& parsed);

}  // namespace demask

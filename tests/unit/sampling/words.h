// The rule of sampling/words.h, stated again as a walk over the texts.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>

#include "sampling/words.h"

namespace demask::testing {

inline at::Tensor walked(const at::Tensor& scores, const at::Tensor& tokens, const at::Tensor& counted,
                         const WordEdges& edges) {
  at::Tensor highest = scores.clone();
  const int64_t length = tokens.size(1), *token = tokens.data_ptr<int64_t>();
  const bool *counts = counted.data_ptr<bool>(), *begins = edges.begins_within.data_ptr<bool>(),
             *ends = edges.ends_within.data_ptr<bool>();
  float* score = highest.data_ptr<float>();
  for (int64_t row = 0; row < tokens.size(0); ++row, token += length, counts += length, score += length) {
    for (int64_t first = 0, next = 1; first < length; first = next++) {
      while (next < length && counts[next] && counts[next - 1] && begins[token[next]] && ends[token[next - 1]]) {
        ++next;
      }
      if (next - first <= 64) {
        std::fill(score + first, score + next, *std::max_element(score + first, score + next));
      }
    }
  }
  return highest;
}

}  // namespace demask::testing

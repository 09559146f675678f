// Texts to score, and what a model says of them in float64.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "model/language_model.h"
#include "sampling/score.h"

namespace demask::testing {

// log p in float64 of the tokens at every place, under the logits that the model gives there.
inline std::vector<double> log_probabilities(LanguageModel& model, const std::vector<int64_t>& seen,
                                             const std::vector<int64_t>& wanted) {
  const at::Tensor all = at::log_softmax(model.logits(at::tensor(seen).unsqueeze(0))[0].to(at::kDouble), -1);
  const at::Tensor chosen = all.gather(1, at::tensor(wanted).unsqueeze(1)).squeeze(1);
  return {chosen.data_ptr<double>(), chosen.data_ptr<double>() + chosen.numel()};
}

inline ScoreText text_of(std::vector<int64_t> tokens, size_t given, int64_t index = 0) {
  ScoreText text{{7, index}, std::move(tokens), {}};
  text.scored.assign(text.tokens.size(), true);
  std::fill_n(text.scored.begin(), given, false);
  return text;
}

inline ScoreOptions options_for(ScoreMethod method, int64_t mask = 0, int64_t draws = 128) {
  ScoreOptions options;
  options.method = method;
  options.mask_token_id = mask;
  options.draws = draws;
  return options;
}

inline TextScore score_one(LanguageModel& model, const ScoreText& text, const ScoreOptions& options) {
  CheckedModel checked(model, "model");
  return Scorer(checked, options).score({text}).at(0);
}

}  // namespace demask::testing

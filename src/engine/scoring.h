// How a run scores texts: what its settings and its model make of score_method.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/context.h"
#include "engine/generator.h"
#include "sampling/score.h"

namespace demask {

// The method that score_method is for the context's model, never automatic: exact where it is autoregressive, else a
// bound. Throws Error where the model cannot be scored so.
ScoreMethod resolve_score_method(const Context& context);

// What the run does: a way of sampling, or of scoring.
std::string_view method_name(const Context& context);

// As the settings say. Throws as resolve_score_method.
ScoreOptions score_options(const Context& context, const std::function<bool()>& gives_up);

// "bound by 128 draws", for people.
std::string describe_scores(const ScoreOptions& options);

// As Scorer::begin; where memory runs out, in forwards half as large, with a notice. Throws as that, and where memory
// runs out on one row.
std::shared_ptr<Scorer::UnderWay> begin_in_memory(Scorer& scorer, const std::vector<ScoreText>& texts,
                                                  at::Device device, Observer* observer);

}  // namespace demask

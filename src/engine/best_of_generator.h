// best_of: several candidates for each sample, of which the likeliest is kept.
#pragma once

#include <functional>
#include <memory>

#include "engine/generator.h"

namespace demask {

// Draws best_of candidates for each sample from `generator` and keeps the one whose drawn tokens have the highest
// score, the first among equals. With K candidates those of the sample whose stream has index i are the samples of
// indices i * K .. i * K + K - 1 without best_of; where a template has gaps, all with the lengths of the first. Throws
// Error where the model cannot be scored.
std::unique_ptr<Generator> make_best_of_generator(const Context& context, std::unique_ptr<Generator> generator,
                                                  const std::function<bool()>& gives_up);

}  // namespace demask

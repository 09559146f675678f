// What both ways of sampling settle alike: how tokens are drawn, what is told of it, and what a model allows.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "config/config.h"
#include "model/language_model.h"
#include "sampling/token_draw.h"

namespace demask {

DrawOptions draw_options(const Config& config);

// Temperature and filters in words; temperature_end where the temperature changes. Filters have no use at temperature 0
// unless `judges_filtered`.
std::string describe_draw(const DrawOptions& draw, std::optional<double> temperature_end = {},
                          bool judges_filtered = false);

// Throws Error(bad_usage) where the model of this checkpoint cannot read the `length` tokens that `key` gives.
void check_length(const ModelInfo& info, const std::string& checkpoint, const std::string& key, int64_t length);

void notice_unrecordable(const std::string& reason);

}  // namespace demask

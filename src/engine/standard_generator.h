// Standard sampling, from left to right, as a generator.
#pragma once

#include <functional>
#include <memory>

#include "engine/generator.h"

namespace demask {

// As make_generator, for sampling_method='standard'.
std::unique_ptr<Generator> make_standard_generator(const Context& context, const std::function<bool()>& gives_up);

}  // namespace demask

// Diffusion as a generator: the models, the strategy's policy and its plan behind one sampler.
#pragma once

#include <functional>
#include <memory>

#include "engine/generator.h"

namespace demask {

// Throws Error(bad_input) where the context's model fills no masks.
void check_diffusion_model(const Context& context);

// As make_generator, for sampling_method='diffusion'.
std::unique_ptr<Generator> make_diffusion_generator(const Context& context, const std::function<bool()>& gives_up);

}  // namespace demask

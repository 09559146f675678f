#include "engine/generator.h"

#include <algorithm>
#include <utility>

#include "engine/best_of_generator.h"
#include "engine/diffusion_generator.h"
#include "engine/scoring_generator.h"
#include "engine/standard_generator.h"

namespace demask {

std::vector<bool> PreparedPrompt::given() const {
  std::vector<bool> fixed = text.fixed;
  if (fixed.empty()) {
    fixed.resize(static_cast<size_t>(length), false);
    std::fill_n(fixed.begin(), length - generated, true);
  }
  return fixed;
}

std::unique_ptr<Generator> make_generator(const Context& context, const std::function<bool()>& gives_up) {
  const Config& config = context.config;
  if (config.score) {
    return make_scoring_generator(context, gives_up);
  }
  std::unique_ptr<Generator> generator = config.sampling_method == SamplingMethod::diffusion
                                             ? make_diffusion_generator(context, gives_up)
                                             : make_standard_generator(context, gives_up);
  return config.best_of > 1 ? make_best_of_generator(context, std::move(generator), gives_up) : std::move(generator);
}

std::vector<SampleTask> consecutive(const Stream& first, int64_t count,
                                    const std::shared_ptr<const PreparedPrompt>& prompt) {
  std::vector<SampleTask> tasks;
  tasks.reserve(static_cast<size_t>(count));
  for (int64_t k = 0; k < count; ++k) {
    tasks.push_back({{first.index + k, k, {}, first.seed}, {first.seed, first.index + k}, prompt, false});
  }
  return tasks;
}

}  // namespace demask

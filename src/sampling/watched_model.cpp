#include "sampling/watched_model.h"

#include <ATen/ATen.h>

#include <utility>

#include "core/error.h"

namespace demask {
WatchedModel::WatchedModel(LanguageModel& model, std::string name)
    : model_(model),
      name_(std::move(name)),
      broken_(at::zeros({}, at::TensorOptions(at::kBool).device(model.device()))) {}

void WatchedModel::check() {
  if (broken_.item<bool>()) {
    broken_.zero_();
    fail(ExitCode::failed,
         "'{}' gave non-finite logits (NaN or infinity), so its samples were discarded. The weights may be damaged, or "
         "the "
         "precision too low: try --dtype=float32.",
         name_);
  }
}

void watch(const at::Tensor& values, const at::Tensor& broken) {
  at::Tensor flag = broken;
  flag.logical_or_(values.isnan().any());
}

}  // namespace demask

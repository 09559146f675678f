#include "sampling/checked_model.h"

#include <ATen/ATen.h>

#include <utility>

#include "core/error.h"

namespace demask {
CheckedModel::CheckedModel(LanguageModel& model, std::string name)
    : model_(model),
      name_(std::move(name)),
      broken_(at::zeros({}, at::TensorOptions(at::kBool).device(model.device()))) {}

void CheckedModel::check(const at::Tensor& broken_then) {
  if (broken_then.item<bool>()) {
    broken_.zero_();
    fail(ExitCode::failed, "'{}' gave non-finite logits (NaN or infinity), so its samples were discarded. {}", name_,
         model_.info().dtype == ElementType::float32
             ? "Either its weights are damaged, or a setting makes logits too large: check cfg_scale and "
               "repetition_penalty."
             : "The precision may be too low, or the weights damaged: try --dtype=float32.");
  }
}

void watch(const at::Tensor& values, const at::Tensor& broken) {
  at::Tensor flag = broken;
  flag.logical_or_(values.isnan().any());
}

}  // namespace demask

#include "sampling/guidance.h"

#include <ATen/ATen.h>

namespace demask {

at::Tensor guided(const at::Tensor& both, double scale) {
  const int64_t texts = both.size(0) / 2;
  const at::Tensor unconditional = both.narrow(0, texts, texts);
  // In place: of a large vocabulary's logits each copy in float32 takes gigabytes.
  const at::Tensor logits = both.narrow(0, 0, texts).to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  return logits.sub_(unconditional).mul_(scale + 1).add_(unconditional);
}

}  // namespace demask

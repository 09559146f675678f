#include "checkpoint/finite_weights.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "core/error.h"

namespace demask {
namespace {

constexpr int64_t summed_at_once = int64_t{1}
                                   << 22;  // on the CPU LibTorch sums half precisions through a copy in float32

std::string place_of_first(const at::Tensor& wrong) {
  const at::Tensor place = wrong.nonzero().select(0, 0).cpu();
  return fmt::format("[{}]", fmt::join(place.data_ptr<int64_t>(), place.data_ptr<int64_t>() + place.numel(), ", "));
}

}  // namespace

bool is_finite(const at::Tensor& tensor) {
  if (!tensor.is_floating_point() || tensor.numel() == 0) {
    return true;
  }
  const at::Tensor numbers = tensor.reshape({-1});
  for (int64_t first = 0; first < numbers.numel(); first += summed_at_once) {
    const at::Tensor part = numbers.narrow(0, first, std::min(summed_at_once, numbers.numel() - first));
    // The sum of large finite numbers may be infinite too.
    if (!std::isfinite(part.sum(at::kFloat).item<float>()) && !at::isfinite(part).all().item<bool>()) {
      return false;
    }
  }
  return true;
}

void check_finite(const at::Tensor& converted, const at::Tensor& stored, const std::string& what) {
  if (is_finite(converted)) {
    return;
  }
  const at::Tensor wrong = at::isfinite(stored).logical_not();
  if (const auto count = wrong.sum().item<int64_t>(); count > 0) {
    fail(ExitCode::bad_input,
         "{} holds {} numbers that are NaN or infinite, of {}, the first at {}. It was damaged in training or "
         "when it was saved: use an earlier checkpoint.",
         what, count, stored.numel(), place_of_first(wrong));
  }
  const at::Tensor too_large = at::isfinite(converted).logical_not();
  if (const auto count = too_large.sum().item<int64_t>(); count > 0) {
    fail(ExitCode::bad_input,
         "{} holds {} numbers that are infinite in {}, the first at {}. Use --dtype=bfloat16 or --dtype=float32.", what,
         count, toString(converted.scalar_type()), place_of_first(too_large));
  }
}

}  // namespace demask

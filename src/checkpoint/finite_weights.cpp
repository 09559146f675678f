#include "checkpoint/finite_weights.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/finite_floats.h"
#include "core/error.h"

namespace demask {
namespace {

// On the CPU LibTorch widens what it sums up, all of it at once.
constexpr int64_t block_elements = int64_t{1} << 18;

std::string place_of_first(const at::Tensor& wrong) {
  const at::Tensor place = wrong.nonzero().select(0, 0).cpu();
  return fmt::format("[{}]", fmt::join(place.data_ptr<int64_t>(), place.data_ptr<int64_t>() + place.numel(), ", "));
}

bool is_plain_single(const at::Tensor& tensor) {
  return tensor.is_cpu() && tensor.scalar_type() == at::kFloat && tensor.is_contiguous();
}

}  // namespace

bool is_finite(const at::Tensor& tensor) {
  if (!tensor.is_floating_point() || tensor.numel() == 0) {
    return true;
  }
  if (is_plain_single(tensor)) {
    return are_below(tensor.data_ptr<float>(), tensor.numel(), infinity_bits);
  }
  if (tensor.is_cpu() && tensor.is_contiguous() && tensor.numel() > block_elements) {
    const std::vector<at::Tensor> blocks = tensor.view({-1}).split(block_elements);
    return std::all_of(blocks.begin(), blocks.end(), is_finite);
  }
  // The sum of large finite numbers may be infinite too.
  return std::isfinite(tensor.sum(at::kFloat).item<float>()) || at::isfinite(tensor).all().item<bool>();
}

bool is_finite_converted(const at::Tensor& converted, const at::Tensor& stored) {
  const bool wide = stored.scalar_type() == at::kFloat || stored.scalar_type() == at::kDouble;
  const bool by_stored = stored.is_cpu() && !converted.is_cpu() && converted.is_floating_point() && wide;
  return by_stored && stored.numel() > 0 ? stays_finite(stored, converted.scalar_type()) : is_finite(converted);
}

// NaN is the least and the greatest of all, and rounding keeps the order.
bool stays_finite(const at::Tensor& stored, at::ScalarType dtype) {
  if (is_plain_single(stored) && (dtype == at::kFloat || dtype == at::kBFloat16)) {
    return are_below(stored.data_ptr<float>(), stored.numel(),
                     dtype == at::kFloat ? infinity_bits : infinite_in_bfloat16_bits);
  }
  const auto [least, greatest] = at::aminmax(stored);
  return is_finite(at::stack({least, greatest}).to(dtype));
}

void check_finite(const at::Tensor& converted, const at::Tensor& stored, const std::string& what) {
  if (is_finite_converted(converted, stored)) {
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

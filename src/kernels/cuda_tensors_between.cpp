#include <ATen/ATen.h>

#include "kernels/cuda.h"
#include "kernels/cuda_tensors.h"

namespace demask::kernels::cuda {
namespace {

launch::DecodeNorm pointers_of(const Norm& norm) {
  return {norm.weight.const_data_ptr(), pointer_or_none(norm.bias)};
}
launch::DecodeLinear pointers(const at::Tensor& weight, const at::Tensor& bias) {
  return {weight.const_data_ptr(), pointer_or_none(bias)};
}

// Whether the kernel takes the rows and the layer.
bool takes(const at::Tensor& x, const Between& of) {
  const int64_t width = x.size(2);
  const at::Tensor& next = of.next.weight;
  const bool squares = of.projection.weight.size(0) == width && of.projection.weight.size(1) == width &&
                       of.expand.weight.size(1) == width && of.expand.weight.size(0) % width == 0 &&
                       of.contract.weight.size(1) == of.expand.weight.size(0) &&
                       (!next.defined() || (next.size(0) == 3 * width && next.size(1) == width));
  const bool norms = of.feed_forward_norm.form == NormKind::layer && of.next_norm.form == NormKind::layer &&
                     of.feed_forward_norm.epsilon == of.next_norm.epsilon;
  return launch::between_takes(width, x.size(0) * x.size(1)) && squares && norms && x.scalar_type() != at::kFloat;
}

}  // namespace

at::Tensor between_attentions(const at::Tensor& x, const at::Tensor& mixed, const Between& of) {
  TORCH_INTERNAL_ASSERT(x.is_contiguous() && mixed.sizes() == x.sizes());
  if (!takes(x, of)) {
    return {};
  }
  const at::Tensor own = mixed.contiguous();
  const int64_t width = x.size(2);
  launch::BetweenArguments a;
  a.last = !of.next.weight.defined();
  at::Tensor out = at::empty({x.size(0), x.size(1), a.last ? width : 3 * width}, x.options());
  a.mixed = own.const_data_ptr();
  a.x = x.data_ptr();
  a.out = out.data_ptr();
  a.projection = pointers(of.projection.weight, of.projection.bias);
  a.feed_forward_norm = pointers_of(of.feed_forward_norm);
  a.expand = pointers(of.expand.weight, of.expand.bias);
  a.contract = pointers(of.contract.weight, of.contract.bias);
  a.next_norm = pointers_of(of.next_norm);
  if (!a.last) {
    a.next = pointers(of.next.weight, of.next.bias);
  }
  a.epsilon = static_cast<float>(of.next_norm.epsilon);
  a.rows = x.size(0) * x.size(1);
  a.width = width;
  a.slices = static_cast<int>(of.expand.weight.size(0) / width);
  a.activation = of.activation;
  a.angles = numbers_or_none<float>(of.next.angles);
  a.length = x.size(1);
  a.head_width = of.next.head_width;
  a.rotated = of.next.heads * of.next.head_width;
  if (!launch::between(precision_of(x), a, stream_of(x))) {
    return {};
  }
  check_launch();
  return out;
}

}  // namespace demask::kernels::cuda

#include "kernels/pattern_tensors.h"

#include <ATen/ATen.h>

namespace demask::kernels {

static_assert(sizeof(PatternNumbers) == sizeof(int32_t) && sizeof(PatternSource) == sizeof(int32_t));

int64_t pattern_bytes(const PatternSizes& sizes) {
  constexpr int64_t number = 8, index = 4;
  return sizes.table_numbers * index +
         sizes.batch * ((sizes.length + 1) * sizes.states * number +
                        sizes.length * ((sizes.weights + sizes.sums) * number + sizes.states * index));
}

PatternTensors make_pattern_tensors(const PatternSizes& sizes, at::Device device) {
  const at::TensorOptions integers = at::device(device).dtype(at::kInt), numbers = integers.dtype(at::kDouble),
                          floats = integers.dtype(at::kFloat);
  const int64_t batch = sizes.batch, length = sizes.length;
  PatternTensors tensors;
  tensors.tables = at::empty({sizes.table_numbers}, integers);
  tensors.table_at = at::empty({batch}, integers.dtype(at::kLong));
  tensors.fixed = at::empty({batch, length}, integers);
  tensors.weights = at::empty({batch, length, sizes.weights}, numbers);
  tensors.messages = at::empty({batch, length + 1, sizes.states}, numbers);
  tensors.sums = at::empty({batch, length, sizes.sums}, numbers);
  tensors.next = at::empty({batch, length, sizes.states}, integers);
  tensors.path = at::empty({batch, length}, integers);
  tensors.numbers = at::empty({batch}, integers);
  tensors.source = at::empty({batch}, integers);
  tensors.largest = at::empty({batch, length}, numbers);
  tensors.highest = at::empty({batch, length}, floats);
  tensors.total = at::empty({batch, length}, floats);
  tensors.holds = at::empty({batch, length}, integers.dtype(at::kBool));
  tensors.spans = static_cast<int32_t>(sizes.spans);
  tensors.products = static_cast<int32_t>(sizes.products);
  return tensors;
}

PatternArguments pattern_arguments(const PatternTensors& tensors, const PatternDraw& draw) {
  for (const at::Tensor& x : {draw.tokens, draw.masked, draw.drawn, draw.uniforms, draw.chosen, draw.probabilities}) {
    TORCH_INTERNAL_ASSERT(x.is_contiguous());
  }
  const at::Tensor& logits = draw.logits;
  TORCH_INTERNAL_ASSERT(logits.stride(2) == 1 &&
                        (logits.size(0) == 1 || logits.stride(0) == logits.size(1) * logits.stride(1)));
  PatternArguments a;
  a.batch = draw.logits.size(0);
  a.length = draw.logits.size(1);
  a.outputs = draw.logits.size(2);
  a.states_room = static_cast<int32_t>(tensors.next.size(2));
  a.weights_room = static_cast<int32_t>(tensors.weights.size(2));
  a.spans_room = tensors.spans;
  a.products_room = tensors.products;
  a.tables = tensors.tables.data_ptr<int32_t>();
  a.table_at = tensors.table_at.data_ptr<int64_t>();
  a.fixed = tensors.fixed.data_ptr<int32_t>();
  a.tokens = draw.tokens.data_ptr<int64_t>();
  a.masked = draw.masked.data_ptr<bool>();
  a.drawn = draw.drawn.data_ptr<bool>();
  a.uniforms = draw.uniforms.data_ptr<float>();
  a.logits = draw.logits.data_ptr();
  a.row_stride = draw.logits.stride(1);
  if (draw.filtered.defined()) {
    TORCH_INTERNAL_ASSERT(draw.filtered.is_contiguous());
    a.filtered = draw.filtered.data_ptr<float>();
  }
  a.forbidden = draw.forbidden.data_ptr<float>();
  a.temperature = static_cast<float>(draw.filters.temperature);
  if (draw.filters.temperatures.defined()) {
    TORCH_INTERNAL_ASSERT(draw.filters.temperatures.is_contiguous());
    a.temperatures = draw.filters.temperatures.data_ptr<float>();
    a.rows_per_temperature = a.batch * a.length / draw.filters.temperatures.numel();
  }
  a.weights = tensors.weights.data_ptr<double>();
  if (tensors.sums.size(2) > 0) {
    TORCH_INTERNAL_ASSERT(tensors.sums.size(2) == a.outputs && a.outputs <= most_summed);
    a.sums = tensors.sums.data_ptr<double>();
  }
  a.largest = tensors.largest.data_ptr<double>();
  a.highest = tensors.highest.data_ptr<float>();
  a.total = tensors.total.data_ptr<float>();
  a.holds = tensors.holds.data_ptr<bool>();
  a.messages = tensors.messages.data_ptr<double>();
  a.next = tensors.next.data_ptr<int32_t>();
  a.path = tensors.path.data_ptr<int32_t>();
  a.numbers = reinterpret_cast<PatternNumbers*>(tensors.numbers.data_ptr<int32_t>());
  a.source = reinterpret_cast<PatternSource*>(tensors.source.data_ptr<int32_t>());
  a.chosen = draw.chosen.data_ptr<int64_t>();
  a.probabilities = draw.probabilities.data_ptr<float>();
  a.broken = draw.broken.data_ptr<bool>();
  return a;
}

}  // namespace demask::kernels

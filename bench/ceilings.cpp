#include "bench/ceilings.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <vector>

#include "bench/timing.h"

namespace demask::bench {
namespace {

// Random, since multiplying zeros takes less power and so runs at a higher clock.
at::Tensor random(const std::vector<int64_t>& shape, const Options& options) {
  return at::randn(shape, at::TensorOptions(at::kFloat).device(options.device)).to(options.dtype);
}

// inputs [N, in] times weights [out, in], as a model's linear layer has them, into [N, out].
struct Product {
  at::Tensor inputs, weights, outputs;

  Product(int64_t rows, int64_t in, int64_t out, const Options& options)
      : inputs(random({rows, in}, options)),
        weights(random({out, in}, options)),
        outputs(at::empty({rows, out}, inputs.options())) {}
  void operator()() { at::mm_out(outputs, inputs, weights.t()); }
};

}  // namespace

Ceilings measure_ceilings(const Options& options) {
  const c10::InferenceMode inference;
  const bool cuda = options.device.is_cuda();
  Ceilings ceilings;

  ceilings.product_size = cuda ? 8192 : 1024;
  const int64_t n = ceilings.product_size;
  Product product(n, n, n, options);
  const double operations = 2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
  ceilings.product_rate = operations / seconds_per_call(options.device, options.repeats, [&] { product(); });

  ceilings.copy_bytes = int64_t{cuda ? 1024 : 256} << 20;
  // Written once, so that the pages exist.
  const at::Tensor source = at::ones({ceilings.copy_bytes}, at::TensorOptions(at::kByte).device(options.device));
  at::Tensor target = at::zeros_like(source);
  const double copy_s = seconds_per_call(options.device, options.repeats, [&] { target.copy_(source); });
  ceilings.copy_rate = 2.0 * static_cast<double>(ceilings.copy_bytes) / copy_s;
  return ceilings;
}

nlohmann::ordered_json ceilings_json(const Ceilings& ceilings) {
  return {{"product_size", ceilings.product_size},
          {"product_tflops", ceilings.product_rate / 1e12},
          {"copy_bytes", ceilings.copy_bytes},
          {"copy_gb_per_s", ceilings.copy_rate / 1e9}};
}

double weight_operations(const ModelShape& shape, const ForwardSize& size) {
  const auto tokens = static_cast<double>(size.batch) * static_cast<double>(size.length);
  const auto width = static_cast<double>(shape.width);
  return 2 * tokens *
         (12 * width * width * static_cast<double>(shape.layers) + static_cast<double>(size.outputs) * width);
}

double attention_operations(const ModelShape& shape, const ForwardSize& size) {
  const auto tokens = static_cast<double>(size.batch) * static_cast<double>(size.length);
  return 4 * tokens * static_cast<double>(size.length) * static_cast<double>(shape.width) *
         static_cast<double>(shape.layers);
}

double forward_limit(const ModelShape& shape, const ForwardSize& size, const Options& options,
                     const Ceilings& ceilings) {
  const c10::InferenceMode inference;
  const int64_t tokens = size.batch * size.length;
  const int64_t width = shape.width;
  Product query_key_value(tokens, width, 3 * width, options);
  Product projection(tokens, width, width, options);
  Product expand(tokens, width, 4 * width, options);
  Product contract(tokens, 4 * width, width, options);
  Product head(tokens, width, size.outputs, options);
  const std::vector<int64_t> by_head = {size.batch, shape.heads, size.length, width / shape.heads};
  const at::Tensor queries = random(by_head, options), keys = random(by_head, options),
                   values = random(by_head, options);
  const bool fused = fused_attention(queries, keys, values).has_value();
  const double products_s = seconds_per_call(options.device, options.repeats, [&] {
    for (int64_t layer = 0; layer < shape.layers; ++layer) {
      query_key_value();
      fused_attention(queries, keys, values);
      projection();
      expand();
      contract();
    }
    head();
  });
  return fused ? products_s : products_s + attention_operations(shape, size) / ceilings.product_rate;
}

}  // namespace demask::bench

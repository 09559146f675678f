// How fast this machine could be at best: large products, copies, and the products that a forward is made of.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>

#include "bench/cases.h"
#include "bench/options.h"

namespace demask::bench {

struct Ceilings {
  int64_t product_size = 0;  // n of the n x n x n product
  double product_rate = 0;   // floating point operations a second, in the run's dtype
  int64_t copy_bytes = 0;
  double copy_rate = 0;  // bytes a second, read and written ones
};

Ceilings measure_ceilings(const Options& options);

nlohmann::ordered_json ceilings_json(const Ceilings& ceilings);

// The tokens of one forward, and the width of the logits.
struct ForwardSize {
  int64_t batch = 0;
  int64_t length = 0;
  int64_t outputs = 0;
};

// Floating point operations of a forward's matrix products, two a multiply-add: with weights (head included), and of
// attention, every position seeing every other.
double weight_operations(const ModelShape& shape, const ForwardSize& size);
double attention_operations(const ModelShape& shape, const ForwardSize& size);

// Seconds of those products alone, each timed at its own shape, warm and back to back. Where LibTorch has no fused
// attention, attention counts at the large product's rate.
double forward_limit(const ModelShape& shape, const ForwardSize& size, const Options& options,
                     const Ceilings& ceilings);

// LibTorch's own attention over queries, keys and values [B, H, T, D]; empty where it has none (1.13).
std::optional<at::Tensor> fused_attention(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values);

}  // namespace demask::bench

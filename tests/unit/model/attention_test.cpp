#include "model/attention.h"

#include <ATen/ATen.h>

#include "model/device.h"
#include "tests/support/catch.h"

using namespace demask;

TEST_CASE("Heads of queries that share a key attend as if each had its own") {
  at::manual_seed(1337);
  const bool cuda = cuda_device_count() > 0;
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (const int64_t keys : {6, 2, 1}) {
      for (const int64_t queries : {1, 5, 9}) {  // of 9 positions
        for (const bool causal : {false, true}) {
          CAPTURE(dtype, keys, queries, causal);
          const at::TensorOptions options = at::TensorOptions(dtype).device(cuda ? at::kCUDA : at::kCPU);
          const at::Tensor q = at::randn({2, 6, queries, 16}, options), k = at::randn({2, keys, 9, 16}, options),
                           v = at::randn({2, keys, 9, 16}, options);
          const auto for_each_query = [&](const at::Tensor& x) { return x.repeat_interleave(6 / keys, 1); };
          const at::Tensor shared = attend(q, k, v, {causal}).to(at::kFloat),
                           own = attend(q, for_each_query(k), for_each_query(v), {causal}).to(at::kFloat);
          CHECK(((shared - own).norm() / own.norm()).item<double>() < (dtype == at::kFloat ? 1e-6 : 1e-2));
        }
      }
    }
  }
}

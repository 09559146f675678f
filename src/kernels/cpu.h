// demask's own CPU kernels, for machines with AVX2 or better: products with packed weights, attention in blocks that
// fit the cache, norms, activations, rotary. Elsewhere the callers compose LibTorch's operations instead.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "kernels/cpu_isa.h"
#include "kernels/large_pages.h"
#include "kernels/thread_pool.h"

namespace demask::kernels::cpu {

// The best kernels for this machine that compute in `dtype`, kChar for products in int8; null where there are none.
const Isa* find(at::ScalarType dtype);

// A linear layer made ready for products.
struct Linear {
  at::Tensor panels;  // bytes, as Isa::pack lays them out; or none:
  at::Tensor stored;  // [outputs, inner] float32, of which each product makes panels by itself
  at::Tensor bias;    // [panels * columns] float32, zero where there is none
  int64_t inner = 0;
  int64_t outputs = 0;  // columns that a product writes
};

// weight [outputs, inner], bias [outputs] or undefined, of any floating dtype. The panels lie in `pages`.
Linear pack(const Isa& isa, const at::Tensor& weight, const at::Tensor& bias, LargePages& pages);

// The same where rows(first, count) gives the weights of some outputs, [count, inner]. They are asked for once, in
// order.
using RowsOfWeight = std::function<at::Tensor(int64_t first, int64_t count)>;
Linear pack(const Isa& isa, int64_t outputs, int64_t inner, const RowsOfWeight& rows, const at::Tensor& bias,
            LargePages& pages);

// Products of `weight`, contiguous float32, which is kept, have the same bits as those of its panels. They cost more,
// by about the time of reading it, but nothing is written: where a layer is used a few times only, that is faster.
Linear keep_as_stored(const Isa& isa, const at::Tensor& weight, const at::Tensor& bias);

// The same for the gated epilogues: weight [2 * outputs, inner] and bias [2 * outputs] hold the gates, then what they
// let through.
Linear pack_gated(const Isa& isa, const at::Tensor& weight, const at::Tensor& bias, LargePages& pages);

// `count` rows of elements, `stride` elements apart.
struct Rows {
  const void* data = nullptr;
  int64_t stride = 0;
  int64_t count = 0;
};

// One output's weights [inner] as products take them.
void weights_of(const Isa& isa, const Linear& linear, int64_t output, float* weights);

// a [count, inner] through a linear layer into out [count, outputs], out_stride apart. Outside of run_tasks the layer's
// panels are shared among the threads.
void product(const Isa& isa, const Linear& linear, const Rows& a, Epilogue epilogue, void* out, int64_t out_stride);

// shared_pool().run(): calls work(first, last, thread) for ranges that make up 0 .. tasks-1, on thread_count() threads.
void run_tasks(int64_t tasks, const ThreadPool::Work& work);

}  // namespace demask::kernels::cpu

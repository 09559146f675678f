// Attention for LibTorch 1.13, which has no public fused kernel: head by head in blocks of queries, so that no score
// matrix leaves the cache.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu.h"
#include "model/attention.h"

namespace demask {
namespace {

constexpr int64_t query_block = 128;  // 128 x 1024 float32 scores are 512 KiB: a second-level cache holds them

// Queries [Q, D] whose first stands at position `first`, keys and values [K, D], into out [Q, D].
void attend_block(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values, bool causal,
                  int64_t first, double scale, at::Tensor out) {
  at::Tensor scores = at::mm(queries, keys.t()).mul_(scale);
  if (causal) {
    const at::Tensor allowed =
        at::ones({queries.size(0), keys.size(0)}, queries.options().dtype(at::kBool)).tril(first);
    scores.masked_fill_(allowed.logical_not(), -std::numeric_limits<double>::infinity());
  }
  at::mm_out(out, at::softmax(scores, -1), values);
}

}  // namespace

at::Tensor attend(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values, bool causal) {
  const int64_t heads = queries.size(0) * queries.size(1);
  const int64_t length = queries.size(2), width = queries.size(3), known = keys.size(2);
  const double scale = 1.0 / std::sqrt(static_cast<double>(width));
  const at::Tensor q = queries.reshape({heads, length, width});
  const at::Tensor k = keys.reshape({heads, known, width});
  const at::Tensor v = values.reshape({heads, known, width});
  at::Tensor out = at::empty_like(q, at::MemoryFormat::Contiguous);
  // Products inside a parallel region run on one thread each, so a head's arithmetic is the same whatever runs beside
  // it.
  kernels::cpu::run_tasks(heads, [&](int64_t begin, int64_t end) {
    const c10::InferenceMode inference;
    for (int64_t head = begin; head < end; ++head) {
      for (int64_t start = 0; start < length; start += query_block) {
        const int64_t count = std::min(query_block, length - start);
        attend_block(q[head].narrow(0, start, count), k[head], v[head], causal, known - length + start, scale,
                     out[head].narrow(0, start, count));
      }
    }
  });
  return out.view({queries.size(0), queries.size(1), length, width});
}

void choose_kernels() {}

}  // namespace demask

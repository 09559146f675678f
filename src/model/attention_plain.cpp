// Attention for LibTorch 1.13, which has no public fused kernel: head by head in blocks of queries, so that no score
// matrix leaves the cache.
#include <ATen/ATen.h>
#include <ATen/TensorIterator.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "model/attention.h"

namespace demask {
namespace {

constexpr int64_t query_block = 128;  // 128 x 1024 float32 scores are 512 KiB: a second-level cache holds them

// Which keys [N] the queries `start` .. start + count - 1 of Q see, bool [count, N]; undefined: all.
at::Tensor seen_by(const AttentionForm& form, int64_t start, int64_t count, int64_t queries, int64_t known) {
  if (form.seen.defined()) {
    return form.seen.narrow(0, start, count);
  }
  return form.causal ? at::ones({count, known}, at::kBool).tril(known - queries + start) : at::Tensor();
}

// Queries [Q, D], keys and values [N, D], seen [Q, N] bool or undefined, into out [Q, D].
void attend_block(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values, const at::Tensor& seen,
                  double scale, at::Tensor out) {
  at::Tensor scores = at::mm(queries, keys.t()).mul_(scale);
  if (seen.defined()) {
    scores.masked_fill_(seen.logical_not(), -std::numeric_limits<double>::infinity());
  }
  at::mm_out(out, at::softmax(scores, -1), values);
}

// Calls work for consecutive ranges that make up 0 .. tasks-1, in a parallel region of LibTorch's: products in it run
// on one thread each, so a head's arithmetic is the same whatever runs beside it. It is LibTorch's own loop over
// elements because at::parallel_for would be compiled into demask with another OpenMP than LibTorch's, or with none.
template <typename Work>
void for_each_on_libtorch_threads(int64_t tasks, const Work& work) {
  const at::Tensor numbers = at::empty({tasks}, at::kByte);
  const char* const start = static_cast<const char*>(numbers.data_ptr());
  at::TensorIterator each = at::TensorIterator::borrowing_nullary_op(numbers);
  each.for_each(
      [&](char** data, const int64_t* /*strides*/, int64_t count) { work(data[0] - start, data[0] - start + count); },
      /*grain_size=*/1);
}

}  // namespace

at::Tensor attend(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values, AttentionForm form) {
  const int64_t heads = queries.size(0) * queries.size(1);
  const int64_t length = queries.size(2), width = queries.size(3), known = keys.size(2);
  const double scale = 1.0 / std::sqrt(static_cast<double>(width));
  const at::Tensor q = queries.reshape({heads, length, width});
  const at::Tensor k = keys.reshape({-1, known, width});
  const at::Tensor v = values.reshape({-1, known, width});
  const int64_t each = queries.size(1) / keys.size(1);  // queries that share a key
  at::Tensor out = at::empty_like(q, at::MemoryFormat::Contiguous);
  for_each_on_libtorch_threads(heads, [&](int64_t begin, int64_t end) {
    const c10::InferenceMode inference;
    for (int64_t head = begin; head < end; ++head) {
      for (int64_t start = 0; start < length; start += query_block) {
        const int64_t count = std::min(query_block, length - start);
        attend_block(q[head].narrow(0, start, count), k[head / each], v[head / each],
                     seen_by(form, start, count, length, known), scale, out[head].narrow(0, start, count));
      }
    }
  });
  return out.view({queries.size(0), queries.size(1), length, width});
}

void prefer_fast_products() {}

}  // namespace demask

// The transformer of transformer.h through demask's own CPU kernels: the same function of tokens, in a form that keeps
// what it works on in the caches.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "checkpoint/transformer.h"
#include "checkpoint/weight_source.h"
#include "kernels/cpu.h"
#include "model/language_model.h"
#include "model/transformer_cpu_weights.h"

namespace demask {

// Between two attentions every position stands for itself, so a few rows at a time go through projection, residual,
// norm, feed-forward and the next layer's queries, keys and values while they are in the cache. A position's bits
// depend on the tokens of its own text only, never on the batch or on which positions are asked for. One forward at a
// time: the work space is the model's.
class TransformerOnCpu {
 public:
  // Computes in `dtype`; kChar is products in int8, whatever the dtype of the weights. Null, and nothing read, where
  // the machine has no kernels for it, or widths are odd. Where few `forwards` are to be expected, weights of a mapped
  // file are used as they lie there, with the same bits: see LinearForm. Throws as the source does.
  static std::unique_ptr<TransformerOnCpu> make(WeightSource& source, at::ScalarType dtype, int64_t forwards);

  // tokens [B, T] int64 -> logits float32 [B, T, V], or [B, n, V] at positions [B, n] int64 where they are given, for
  // the positions that the description shifts them to.
  at::Tensor logits(const at::Tensor& tokens, const at::Tensor& positions);

  // Keeps keys and values; for causal models. Its logits are those of the next token, which no shift changes.
  std::unique_ptr<DecodingSession> begin(const GrowingText& text);

  // As LanguageModel::begin_blocks.
  std::unique_ptr<BlockCache> begin_blocks(int64_t batch, int64_t length);

 private:
  friend class CpuDecodingSession;
  friend class CpuBlockCache;
  using Isa = kernels::cpu::Isa;

  // Packed keys and values [B * K, bytes of one head], a pair a layer.
  struct Cache {
    std::vector<at::Tensor> keys, values;
    int64_t capacity = 0;
    int64_t length = 0;  // positions known before those of the next forward
    int64_t kept = 0;    // positions known in all, where later ones are known too
  };
  // Memory that is kept from one forward to the next, in bytes.
  struct Buffer {
    at::Tensor bytes;
    void* reserve(int64_t size);
  };
  // What one forward works on.
  struct Pass {
    int64_t batch = 0, length = 0, past = 0;
    const int64_t* tokens = nullptr;     // [B, T]
    const int64_t* positions = nullptr;  // [B, wanted], or none: all
    int64_t wanted = 0;                  // positions a text that need logits
    Cache* cache = nullptr;              // or none
    float* x = nullptr;                  // residual stream [rows, C]
    void* qkv = nullptr;                 // [B * T, (H + 2K) * D] elements
    void* mixed = nullptr;               // attention's result [rows, H * D] elements
    float* logits = nullptr;             // [B * wanted, V], or none:
    void* hidden = nullptr;              // [B * T, C] elements, spaced, that the head is to read
  };

  TransformerOnCpu(const Isa& isa, WeightSource& source, int64_t forwards);

  // As logits, but not shifted; with a cache the tokens follow its `length` positions, and their keys and values are
  // added.
  at::Tensor forward(const at::Tensor& tokens, const at::Tensor& positions, Cache* cache);
  // tokens [G, T] -> the logits [G, V] after them, with their keys and values in the first G texts of the cache. Slice
  // by slice, so that what it takes beside the cache does not grow with the tokens.
  at::Tensor read(const at::Tensor& tokens, const Cache& cache, const OnLogits& on_logits);
  // The same, once for texts that are still all alike, as every run begins.
  at::Tensor forward_of_different(const at::Tensor& tokens, const at::Tensor& positions);
  // Takes the pass from its tokens to logits or hidden states.
  void run(Pass& pass);
  // For texts of at most so many positions.
  Cache make_cache(int64_t texts, int64_t positions) const;
  Cache texts_of(const Cache& cache, const Slice& slice) const;
  // Every text's keys and values of the first `length` positions become those of its beginning.
  void spread(const Cache& cache, int64_t length, const Beginnings& beginnings) const;
  // Calls work(first_row, last_row, scratch) for `rows` rows, cut into pieces that fit the cache.
  template <typename Work>
  void for_rows(int64_t rows, const Work& work);
  void embed(const Pass& pass, int64_t first, int64_t last, char* scratch) const;
  void attend(const Pass& pass, size_t layer);
  void clear_values_from(int64_t known, int64_t capacity, void* values) const;
  void after_attention(const Pass& pass, size_t layer, int64_t first, int64_t last, char* scratch) const;
  void query_key_value(const Pass& pass, const CpuBlock& block, int64_t first, int64_t last, char* scratch) const;
  void norm(const CpuNorm& norm, const float* x, int64_t rows, void* out) const;

  // Rows a multiple of 4 KiB apart would share the lines of the first-level cache.
  int64_t spaced(int64_t elements) const { return elements + 64 / isa_.element_bytes; }
  int64_t heads() const { return description_.heads; }
  int64_t key_heads() const { return description_.key_value_heads; }
  int64_t group() const { return heads() / key_heads(); }  // query heads for each of keys
  int64_t width() const { return description_.width; }
  int64_t expanded_width() const { return weights_.blocks.front().expand.outputs; }
  int64_t head_width() const { return description_.head_width; }
  int64_t round_to_panels(int64_t number) const { return (number + isa_.columns - 1) / isa_.columns * isa_.columns; }
  int64_t key_bytes(int64_t capacity) const { return capacity * head_width() * isa_.element_bytes; }
  int64_t value_bytes(int64_t capacity) const { return capacity * round_to_panels(head_width()) * isa_.element_bytes; }

  const Isa& isa_;
  TransformerDescription description_;
  CpuWeights weights_;
  Buffer x_, chosen_x_, qkv_, mixed_, hidden_, scratch_;
};

}  // namespace demask

// demask's own CUDA kernels, for the steps of a forward and of sampling that are memory traffic: each reads what it
// needs once. Built where nvcc is present; without them, and on the CPU, the callers compose LibTorch's operations
// instead. All work is queued on LibTorch's current stream, allocates through its allocator, and can be recorded in a
// CUDA graph.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "kernels/operands.h"
#include "kernels/reveal_rule.h"

namespace demask::kernels::cuda {

// Whether this build has the kernels.
bool built();

// Whether the kernels take x: they are built, and x is on a CUDA device and float32, float16 or bfloat16.
bool has_kernels_for(const at::Tensor& x);

// Whether the kernels of a forward take this model: has_kernels_for(parameter), any of its weights, and its widths suit
// accesses of 16 bytes.
bool has_kernels_for_model(const at::Tensor& parameter, int64_t width, int64_t head_width);

// x [B, T, C] becomes the embeddings of tokens [B, T] at positions 0 .. T-1; returns their LayerNorm.
at::Tensor embed_and_norm(const at::Tensor& x, const at::Tensor& tokens, const Embedding& embedding, const Norm& norm);

// x [B, 1, C] becomes the embeddings of text[:, position], text [B, L] int64, position [1] int64; returns their
// LayerNorm.
at::Tensor embed_one_and_norm(const at::Tensor& x, const at::Tensor& text, const at::Tensor& position,
                              const Embedding& embedding, const Norm& norm);

// x += update + bias (bias [C] or undefined), in place; returns the LayerNorm of the sum. x, update [B, T, C].
at::Tensor add_and_norm(const at::Tensor& x, const at::Tensor& update, const at::Tensor& bias, const Norm& norm);

// Rotary positions 0 .. T-1 for the queries and keys of qkv [B, T, 3C], in place. cosine, sine [block, D / 2] float32.
void rotate(const at::Tensor& qkv, const at::Tensor& cosine, const at::Tensor& sine, int64_t heads);

// Exact GELU of x + bias (bias [C] or undefined), in place. x [B, T, C].
void bias_gelu(const at::Tensor& x, const at::Tensor& bias);

// One new token a sequence: its rotated key and its value go into keys and values [B, H, capacity, D] at `position` [1]
// int64, and its query sees 0 .. position. qkv [B, 1, 3C] -> [B, 1, C]. cosine and sine undefined: no rotation.
at::Tensor decode_attention(const at::Tensor& qkv, const at::Tensor& keys, const at::Tensor& values,
                            const at::Tensor& position, const at::Tensor& cosine, const at::Tensor& sine);

// The rules of sampling/token_draw.h. logits [..., V]; forbidden [V] float32; uniforms [...] float32; wanted [...] bool
// and given [...] int64, both or neither: rows that are not wanted keep the given token with probability 1. Writes
// tokens [...] int64 and probabilities [...] float32; sets broken [] bool where a row has no finite largest logit.
void draw(const at::Tensor& logits, const at::Tensor& forbidden, const at::Tensor& uniforms, const at::Tensor& wanted,
          const at::Tensor& given, const DrawFilters& filters, const at::Tensor& tokens,
          const at::Tensor& probabilities, const at::Tensor& broken);

// softmax(logits [..., V]) of tokens [...] int64, or of `column` in every row where tokens is undefined, or its
// logarithm: float32 [...]. Sets broken [] bool where it is not a number.
at::Tensor judge(const at::Tensor& logits, const at::Tensor& tokens, int64_t column, bool logarithm,
                 const at::Tensor& broken);

// Of softmax(logits [..., V]): the logarithm of tokens' [...] int64 probability, the difference of the two highest
// probabilities, and the entropy in nats; each written as float32 [...]. Sets broken [] bool where a row has no finite
// largest logit.
void measure(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& log_probability,
             const at::Tensor& margin, const at::Tensor& entropy, const at::Tensor& broken);

// The `count` [B, 1] int64 eligible [B, T] positions with the highest scores [B, T] float32, as bool [B, T].
at::Tensor highest(const at::Tensor& scores, const at::Tensor& eligible, const at::Tensor& count);

// Whether reveal() takes certainty [B, T]: has_kernels_for(certainty), and the texts are not too long.
bool has_reveal_kernel_for(const at::Tensor& certainty);

// The drawn [B, T] bool positions that stay masked once the rule has revealed the most certain, the higher position
// first among equals: bool [B, T]. certainty [B, T] float32. steps_left [B, 1] int64 or undefined: Turn's.
at::Tensor reveal(const at::Tensor& certainty, const at::Tensor& drawn, const at::Tensor& steps_left,
                  const RevealRule& rule);

// softmax(logits [B, T, V]) of tokens [B, T] int64, float32 [B, T], plus 2 where it is stable. previous [B, T, V]
// float32 holds the log probabilities of the step before and is overwritten with these; steady [B, T] int64 counts the
// steps in a row with a small KL divergence from the one before, -1 where there was none. Sets broken [] bool where a
// row has no finite largest logit.
at::Tensor stable_probability(const at::Tensor& logits, const at::Tensor& tokens, const Stability& stability,
                              const at::Tensor& previous, const at::Tensor& steady, const at::Tensor& broken);

// Fills slot `slot` [1] int64 of every table from logits [..., V], tokens [...] int64 and masked [...] bool, which is
// undefined where that table is; forbidden [V] float32. The confidence of a token that is not below V is the last
// one's.
void trace(const at::Tensor& slot, const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& masked,
           const at::Tensor& forbidden, const TraceTables& tables);

// The numbers of sampling/noise.h: float32 [B, positions]. seeds, sample_indices [B] int64, steps [1] or [B] int64.
at::Tensor uniform(const at::Tensor& seeds, const at::Tensor& sample_indices, const at::Tensor& steps,
                   int64_t positions, uint32_t purpose);

}  // namespace demask::kernels::cuda

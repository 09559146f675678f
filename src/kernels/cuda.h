// demask's own CUDA kernels, for the steps of a forward and of sampling that are memory traffic: each reads what it
// needs once. Built where nvcc is present; without them, and on the CPU, the callers compose LibTorch's operations
// instead. All work is queued on LibTorch's current stream, allocates through its allocator, and can be recorded in a
// CUDA graph.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "kernels/doubt.h"
#include "kernels/entropy_rule.h"
#include "kernels/excess_rule.h"
#include "kernels/operands.h"
#include "kernels/pattern_tensors.h"
#include "kernels/reveal_rule.h"

namespace demask::kernels::cuda {

// Whether this build has the kernels.
bool built();

// Whether the kernels take x: they are built, and x is on a CUDA device and float32, float16 or bfloat16.
bool has_kernels_for(const at::Tensor& x);

struct Widths {
  int64_t model = 0;         // C
  int64_t feed_forward = 0;  // F
  int64_t head = 0;          // D
};

// Whether the kernels of a forward take a model of these widths: has_kernels_for(parameter), any of its weights, and
// the widths suit accesses of 16 bytes and the threads that share a head.
bool has_kernels_for_widths(const at::Tensor& parameter, const Widths& widths);

// Whether x lies in memory as the kernels of a forward read their weights; true where it is undefined.
bool can_read(const at::Tensor& x);

// x [B, T, C] becomes the embeddings of tokens [B, T] at positions 0 .. T-1; returns their norm.
at::Tensor embed_and_norm(const at::Tensor& x, const at::Tensor& tokens, const Embedding& embedding, const Norm& norm);

// x [B, 1, C] becomes the embeddings of text[:, position], text [B, L] int64, position [1] int64; returns their norm.
at::Tensor embed_one_and_norm(const at::Tensor& x, const at::Tensor& text, const at::Tensor& position,
                              const Embedding& embedding, const Norm& norm);
// The same without their norm.
void embed_one(const at::Tensor& x, const at::Tensor& text, const at::Tensor& position, const Embedding& embedding);

// The norm of x [B, T, C].
at::Tensor norm(const at::Tensor& x, const Norm& norm);

// x += update + bias (bias [C] or undefined), in place; returns the norm of the sum. x, update [B, T, C].
at::Tensor add_and_norm(const at::Tensor& x, const at::Tensor& update, const at::Tensor& bias, const Norm& norm);

// Norms and rotates the queries and keys of qkv [B, T, (H + 2K) * D], at positions from first_position on, in place.
void prepare_heads(const at::Tensor& qkv, const Heads& heads, int64_t first_position);

// The activation of x + bias (bias [C] or undefined), in place. x [B, T, C].
void bias_and_activation(const at::Tensor& x, const at::Tensor& bias, Activation activation);

// activation(gate) * up [B, T, F], where x + bias (bias [2F] or undefined) are the gate and then up; x [B, T, 2F].
at::Tensor gate(const at::Tensor& x, const at::Tensor& bias, Activation activation);

// Whether stream_product takes this weight and so many rows: on compute capability 9.0, in half precisions, of wide
// matrices and rows so few that reading the matrix is what a product takes. There it is faster than a
// library's unsplit sums.
bool has_stream_product_for(const at::Tensor& weight, int64_t rows);
// x [..., in] -> [..., out], weight [out, in], bias [out] or undefined. A row's result depends on no other's. May begin
// early, as tile_product.
at::Tensor stream_product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

// Whether product() takes parameters like this one.
bool has_products_for(const at::Tensor& parameter);

// x [..., in] -> [..., out], weight [out, in], bias [out] or undefined: the library's products, or stream_product where
// its sums have the library's bits, but only such of its kernels as add a row's products in one order, whatever the
// number of rows, so that a row's result depends on no other.
at::Tensor product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

// A linear layer with what stands after it: an activation, or the rotation of a row's queries and keys, or neither.
struct TileProduct {
  at::Tensor weight;  // [out, in]
  at::Tensor bias;    // [out], or undefined
  std::optional<Activation> activation = std::nullopt;
  // [T, D / 2, 2] float32, contiguous: the cosines and sines of T positions, for the first `heads` heads of a row.
  at::Tensor angles = {};
  int64_t heads = 0, head_width = 0;
};

// Whether tile_product takes this weight: on compute capability 9.0, in half precisions, with rows no longer than those
// for which a library's product and a pass over its result are faster. The bounds stand in cuda_tensors_forward.cpp.
bool has_tile_products_for(const at::Tensor& weight);
// Whether it is the faster one also where nothing but a bias stands after the product.
bool plain_tile_product_is_faster(const at::Tensor& weight);
bool tile_product_rotates(int64_t head_width);

// x [B, T, in] -> [B, T, out]. A row's result depends on no other's. Like those below it may begin while what is queued
// right before it still runs.
at::Tensor tile_product(const at::Tensor& x, const TileProduct& product);

// Whether add_tile_product takes this weight, which saves the pass that would add a library's product.
bool has_adding_tile_products_for(const at::Tensor& weight);
// The same rounded and added to `onto` [B, T, out], contiguous, which must not overlap x.
void add_tile_product(const at::Tensor& onto, const at::Tensor& x, const TileProduct& product);

// Whether bidirectional_attention takes qkv [B, T, (H + 2K) * D]: on compute capability 9.0, in half precisions, with
// heads of D = 64 values.
bool has_bidirectional_attention_for(const at::Tensor& qkv, int64_t head_width);
// Scaled dot-product attention in which every query sees every key of its text, scores scaled by 1 / sqrt(D): qkv [B,
// T, (H + 2K) * D], whose queries and keys are prepared, contiguous -> [B, T, H * D]. K divides H. The powers of a
// query are summed over parts of 128 keys in one order (Milakov and Gimelshein 2018; Dao et al. 2022), so that a text's
// result depends on no other's. May begin early, as tile_product does.
at::Tensor bidirectional_attention(const at::Tensor& qkv, int64_t heads, int64_t key_heads);

// decode_attention and the row products below may begin while what is queued right before them still runs. Until that
// has ended they read only what stays as it is throughout a forward: weights, biases, `position`, and the keys and
// values before it. Something else (a forward's first kernel) must stand in the queue between these and what writes
// them.

// What decode_attention works in, for one call at a time. Its content is nobody's.
struct DecodeWorkspace {
  at::Tensor found;  // float32
  at::Tensor ended;  // int32
};
// For keys [B, K, capacity, D] and so many heads of queries; on the device of the keys.
DecodeWorkspace make_decode_workspace(const at::Tensor& keys, int64_t queries);

// One new token a sequence: its normed and rotated key and its value go into keys and values [B, K, capacity, D] at
// `position` [1] int64, and its queries see 0 .. position. qkv [B, 1, (H + 2K) * D] -> [B, 1, H * D]. A sequence's
// result depends on neither the others nor the capacity.
at::Tensor decode_attention(const at::Tensor& qkv, const Heads& heads, const at::Tensor& keys, const at::Tensor& values,
                            const at::Tensor& position, const DecodeWorkspace& workspace);

// Whether window_attention takes keys [B, K, N, D] like these and windows of `count` positions, whatever B and N: on
// compute capability 9.0, in half precisions, heads of D = 128 values that are rotated and not normed.
bool has_window_attention_for(const Heads& heads, const at::Tensor& keys, int64_t count);

// Attention of each text's positions [W] int64, one after the other, to all N of the text: the window's keys, rotated,
// and values go into keys and values [B, K, N, D], and its rotated queries see all of them. qkv [B, W, (H + 2K) * D];
// `heads` has the angles of all positions. Returns [B, W, H * D]. A text's result depends on no other. May begin early
// as decode_attention, and reads the other positions' keys and values then.
at::Tensor window_attention(const at::Tensor& qkv, const Heads& heads, const at::Tensor& keys, const at::Tensor& values,
                            const at::Tensor& positions);

// A linear layer.
struct Linear {
  at::Tensor weight;  // [out, in]
  at::Tensor bias;    // [out], or undefined
};
// A layer with as many key heads as queries, whose feed-forward has an activation and no gate.
struct DecodedLayer {
  Norm attention_norm;
  Linear query_key_value, projection;
  Heads heads;
  at::Tensor keys, values;  // [B, H, capacity, D]
  Norm feed_forward_norm;
  Linear expand, contract;
};
// x [B, 1, C] becomes what the layers make of one new token a text at `position` [1] int64, whose keys and values are
// kept, with the bits that row_product and decode_attention give; layers are alike in form. False where a layer does
// not fit what multiprocessors share among them, or texts are too many for that to be faster: then nothing is computed.
// May begin early, as those do.
bool decode_layers(const at::Tensor& x, const std::vector<DecodedLayer>& layers, const at::Tensor& position,
                   Activation activation);

// A linear layer with what stands before and after it. Gated: the weight's first half of rows makes the gate, the
// second makes up, and activation(gate) * up is the result.
struct RowProduct {
  at::Tensor weight;         // [out, in] or [2 * out, in]
  at::Tensor bias;           // one for each row of the weight, or undefined
  std::optional<Norm> norm;  // of the input
  std::optional<Activation> activation = std::nullopt;
  bool gated = false;
};

// Whether row_product takes rows of so many values, in the precision of `parameter`, however many there are. Where they
// are few, reading the weight is all the work, and one kernel does the rest with it.
bool has_row_products_for(int64_t inner, const at::Tensor& parameter);

// Beyond so many rows in this precision, products over whole matrices by a library and kernels between them are faster.
int64_t fast_row_products(const at::Tensor& parameter);

// x [B, 1, in] -> [B, 1, out]. A row's result does not depend on the others.
at::Tensor row_product(const at::Tensor& x, const RowProduct& product);

// The same added to `onto` [B, 1, out], which must not overlap x.
void add_row_product(const at::Tensor& onto, const at::Tensor& x, const RowProduct& product);

// The rules of sampling/token_draw.h. logits [..., V]; forbidden [V] float32; uniforms [...] float32; wanted [...] bool
// and given [...] int64, both or neither: rows that are not wanted keep the given token with probability 1. Writes
// tokens [...] int64 and probabilities [...] float32; sets broken [] bool where a row has no finite largest logit.
void draw(const at::Tensor& logits, const at::Tensor& forbidden, const at::Tensor& uniforms, const at::Tensor& wanted,
          const at::Tensor& given, const DrawFilters& filters, const at::Tensor& tokens,
          const at::Tensor& probabilities, const at::Tensor& broken);

// What draw_next reads and changes of B texts.
struct NextDraw {
  at::Tensor seeds, sample_indices;  // [B] int64
  at::Tensor steps;                  // [1] int64: read, and then one more
  uint32_t purpose = 0;              // of the numbers that decide
  at::Tensor position;               // [1] int64: one more, which is where the tokens then stand
  at::Tensor tokens;                 // [B, L] int64
  at::Tensor scores;                 // [L, B] float32: judge's logarithms of the drawn tokens, at their position
};
// Whether draw_next takes logits [B, V].
bool has_next_draw_for(const at::Tensor& logits);
// Does uniform's, draw's and judge's work on logits [B, V], and keeps count; in one kernel where they are few.
void draw_next(const at::Tensor& logits, const at::Tensor& forbidden, const DrawFilters& filters, const NextDraw& next,
               const at::Tensor& broken);

// Of texts that match patterns, by the rules of pattern/completions.h, writes tokens and probabilities of the drawn
// positions; the others keep their tokens with probability 1. Texts without a pattern are left alone. Sets broken where
// a probability is not a number.
void draw_matching(const PatternTensors& tensors, const PatternDraw& draw);

// softmax(logits [..., V]) of tokens [...] int64, or of `column` in every row where tokens is undefined, or its
// logarithm: float32 [...]. Sets broken [] bool where it is not a number.
at::Tensor judge(const at::Tensor& logits, const at::Tensor& tokens, int64_t column, bool logarithm,
                 const at::Tensor& broken);

// Whether judged_product takes this weight, in place of a product and judge: on compute capability 9.0, in half
// precisions, of many outputs.
bool has_judged_product_for(const at::Tensor& weight);
// The logarithm of softmax(x [..., in] times the weight's [out, in] first V rows transposed) of tokens [...] int64,
// float32 [...]. The logits are float32 and stand nowhere; a row's result depends on no other's. Sets broken [] bool
// where it is not a number.
at::Tensor judged_product(const at::Tensor& x, const at::Tensor& weight, int64_t outputs, const at::Tensor& tokens,
                          const at::Tensor& broken);

// Of softmax(logits [..., V]): the logarithm of tokens' [...] int64 probability, the difference of the two highest
// probabilities, and the entropy in nats; each written as float32 [...]. Sets broken [] bool where a row has no finite
// largest logit.
void measure(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& log_probability,
             const at::Tensor& margin, const at::Tensor& entropy, const at::Tensor& broken);

// [B, T] float32: `temperature` [B, 1] times min(1, H / whole [B, 1])^power, H the entropy of softmax(logits [B, T,
// V]), within [least, most]. Sets broken as measure().
at::Tensor temperatures_by_entropy(const at::Tensor& logits, const at::Tensor& temperature, const at::Tensor& whole,
                                   const EntropyRule& rule, const at::Tensor& broken);

// Of each text the `count` eligible positions with the highest scores, or the `lowest`, the lower position first among
// equals.
struct RankedPositions {
  at::Tensor scores;    // [B, T] float32
  at::Tensor eligible;  // [B, T] bool
  at::Tensor count;     // [B, 1] int64
  bool lowest = false;
};
// They, as bool [B, T].
at::Tensor highest(const RankedPositions& ranked);

// Whose numbers `uniform` gives: [B] int64 each.
struct NoiseStreams {
  at::Tensor seeds, sample_indices;
};
// The numbers of sampling/noise.h: float32 [B, positions]. steps: [1] or [B] int64.
at::Tensor uniform(const NoiseStreams& streams, const at::Tensor& steps, int64_t positions, uint32_t purpose);

// The tables of a diffusion's steps, contiguous, and where it is in them.
struct StepTables {
  at::Tensor counts;   // [P, S, C] int64
  at::Tensor numbers;  // [P, S, N] float32
  at::Tensor step;     // [1] int64
};
struct StepStart {
  at::Tensor counts, numbers;     // rows `step` of the tables, [P, 1, C] and [P, 1, N]
  std::vector<at::Tensor> noise;  // for each purpose [B, positions], what `uniform` gives for the step
};
// Its memory, for one purpose to three.
StepStart step_start(const StepTables& tables, const NoiseStreams& streams, int64_t positions, int64_t purposes);
// Writes it, by one kernel. `beside` the kernel that is queued before it, and not behind that, where neither that one
// nor any that may still run then writes the tables or the streams or uses the memory of `start`.
void begin_step(const StepTables& tables, const NoiseStreams& streams, const std::vector<uint32_t>& purposes,
                const StepStart& start, bool beside);

// What a step of diffusion changes, contiguous.
struct StepState {
  at::Tensor tokens;  // [B, T] int64
  at::Tensor masked;  // [B, T] bool
  at::Tensor step;    // [1] int64
};
// Ends a step: masked becomes next_masked [B, T] bool, nothing where that is undefined; tokens become those drawn
// [B, T] int64, or `mask` where they are masked; step counts on.
void end_step(const StepState& state, const at::Tensor& drawn, const at::Tensor& next_masked, int64_t mask);
// The same where next_masked are these, by one kernel. False, and nothing done, where there are too many to rank at
// once or they are eligible by the state's own `masked`, which is being written.
bool end_step_by(const StepState& state, const at::Tensor& drawn, const RankedPositions& next_masked, int64_t mask);

// (1 - probability) * (1 - chance) + noise * chance, each [B, T] float32, rounded as tensor operations round it.
at::Tensor blend_doubt(const at::Tensor& probability, const at::Tensor& noise, double chance);

// Of some positions those taken and the others, [B, T] bool.
struct Parted {
  at::Tensor taken, left;
};
// As spread() of sampling/reveal_policy.h: from [B, T] bool, share and offset [B, 1] float32.
Parted spread(const at::Tensor& from, const at::Tensor& share, const at::Tensor& offset);

// logits [B, T, V] less the rule's penalty of each token in its text, rounded to their type: tokens [B, T] int64 below
// V, of which those that are not masked [B, T] bool count, prior [B, V] float32.
at::Tensor less_excess(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& masked,
                       const at::Tensor& prior, const ExcessRule& rule);

// The rule's doubt of each position, float32 [B, T].
at::Tensor doubt(const DoubtTerms& terms, const DoubtRule& rule);

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

}  // namespace demask::kernels::cuda

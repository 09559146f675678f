// The CUDA kernels as plain functions of pointers, so that only this file stands between LibTorch's headers and nvcc.
// Shapes are in elements; every pointer is device memory; nothing is checked here (cuda_tensors.cpp does).
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "core/transformer_forms.h"
#include "kernels/pattern_rule.h"
#include "kernels/reveal_rule.h"

namespace demask::kernels::cuda::launch {

enum class Precision { float32, float16, bfloat16 };

// Values of 16 bytes: what one thread reads or writes at once.
inline constexpr int64_t bytes_at_once = 16;

struct NormArguments {
  // The rows x [rows, width]: either given (and overwritten by the sum where there is an update), or gathered from
  // embeddings by tokens and written to x.
  void* x = nullptr;
  const void* update = nullptr;       // [rows, width], or none
  const void* update_bias = nullptr;  // [width], or none
  const int64_t* tokens = nullptr;    // [rows], or none; row r's is tokens[r / length * token_stride + r % length]
  int64_t token_stride = 0;
  const int64_t* first_position = nullptr;   // scalar added to each row's position, or none
  const void* token_embedding = nullptr;     // [outputs, width]
  const void* position_embedding = nullptr;  // [positions, width], or none
  int64_t length = 1;                        // rows of a sequence; row r stands at position r % length
  const void* weight = nullptr;              // [width], or none: x alone is written
  const void* bias = nullptr;                // [width], or none
  void* normed = nullptr;                    // [rows, width]
  int64_t rows = 0;
  int64_t width = 0;  // at most max_norm_width
  float epsilon = 0;
  NormKind form = NormKind::layer;
};
inline constexpr int64_t max_norm_width = 8192;
void norm(Precision precision, const NormArguments& arguments, cudaStream_t stream);

// A row of queries, keys and values is (queries + 2 * keys) * head_width wide.
struct HeadArguments {
  int64_t queries = 0, keys = 0, head_width = 0;
  const void* query_weight = nullptr;  // [head_width] of an RMSNorm, or none
  const void* key_weight = nullptr;
  float epsilon = 0;
  const float* cosine = nullptr;  // [positions, head_width / 2], or none: no rotation
  const float* sine = nullptr;
};

// Norms and rotates queries and keys of qkv [rows, ...] in place; row r stands at first_position + r % length.
void prepare_heads(Precision precision, void* qkv, const HeadArguments& heads, int64_t rows, int64_t length,
                   int64_t first_position, cudaStream_t stream);

// x = activation(x + bias) in place; x [rows, width], bias [width] or none.
void bias_and_activation(Precision precision, Activation activation, void* x, const void* bias, int64_t rows,
                         int64_t width, cudaStream_t stream);

// out = activation(gate) * up; a row of x [rows, 2 * width] is the gate and then up, bias [2 * width] or none is added
// to it, out [rows, width].
void gate(Precision precision, Activation activation, const void* x, const void* bias, void* out, int64_t rows,
          int64_t width, cudaStream_t stream);

struct DecodeArguments {
  HeadArguments heads;
  const void* qkv = nullptr;          // [batch, (queries + 2 * keys) * head_width], one new token a sequence
  void* keys = nullptr;               // [batch, keys, capacity, head_width], the new key is written to it
  void* values = nullptr;             // likewise
  const int64_t* position = nullptr;  // scalar: where the new token stands; it sees positions 0 .. position
  void* mixed = nullptr;              // [batch, queries * head_width]
  int64_t batch = 0, capacity = 0;
  int64_t splits = 1;      // decode_splits' of the capacity
  float* found = nullptr;  // [batch * queries, splits, head_width + decode_found_extra], of any content
  int* ended = nullptr;    // [batch * queries], zeros, which the kernel leaves as zeros
};
inline constexpr int64_t decode_found_extra = 2;
// How many blocks share the keys of a head. How many keys each takes depends on nothing but a head's bytes, so that a
// result depends on neither the batch nor the capacity.
int64_t decode_splits(int64_t capacity, int64_t head_bytes);
void decode_attention(Precision precision, const DecodeArguments& arguments, cudaStream_t stream);

struct RowProductArguments {
  const void* x = nullptr;       // [rows, inner]
  const void* weight = nullptr;  // [outputs, inner], or where it is gated the gate's outputs and then up's
  const void* bias = nullptr;    // one for each row of the weight, or none
  void* out = nullptr;           // [rows, outputs]
  int64_t rows = 0, inner = 0, outputs = 0;
  const void* norm_weight = nullptr;  // [inner]: x is normed first; or none
  const void* norm_bias = nullptr;    // [inner], or none
  float epsilon = 0;
  NormKind form = NormKind::layer;
  bool activates = false;
  Activation activation = Activation::gelu;
  bool gated = false;
  bool adds = false;       // onto what stands in out
  void* normed = nullptr;  // room, see normed_row_values
};
inline constexpr int64_t max_product_rows = 8;
// Of x, which every block holds in shared memory, and of one of its rows.
inline constexpr int64_t max_product_bytes = 48 * 1024, max_product_row_bytes = 32 * 1024;
// Whether row_product takes rows of so many values on the current device, however many there are.
bool takes_row_product(Precision precision, int64_t inner);
// How many values arguments.normed needs; 0: none.
int64_t normed_row_values(Precision precision, const RowProductArguments& arguments);
void row_product(Precision precision, const RowProductArguments& arguments, cudaStream_t stream);

// The layers of a narrow model for one new token a text; each has its own pointers.
struct DecodeLinear {
  const void* weight = nullptr;  // [out, in]
  const void* bias = nullptr;    // [out], or none
};
struct DecodeNorm {
  const void* weight = nullptr;  // [width]
  const void* bias = nullptr;    // [width], or none
};
struct DecodeLayer {
  DecodeNorm attention_norm, feed_forward_norm;
  DecodeLinear query_key_value, projection, expand, contract;
  const void* query_norm = nullptr;  // [head_width], or none
  const void* key_norm = nullptr;
  void* keys = nullptr;  // as in DecodeArguments
  void* values = nullptr;
};
inline constexpr int64_t max_decode_layers = 24;
struct DecodeLayersArguments {
  DecodeLayer layers[max_decode_layers];  // alike in what they have
  int64_t count = 0;                      // at least 1
  void* x = nullptr;                      // [batch, width], in place
  int64_t width = 0, hidden = 0;          // width: of all heads together, too
  DecodeArguments attention;              // without what a layer or the kernel itself has
  float epsilon = 0;
  NormKind form = NormKind::layer;
  Activation activation = Activation::gelu;
  int64_t texts_each = 1;  // of a cluster, which decode_layers chooses
};
// False where it takes no such layers, so many texts or this device, and nothing is computed.
bool decode_layers(Precision precision, DecodeLayersArguments arguments, cudaStream_t stream);

// Attention of a window of each text, of which `first` is the first position, to all of its `capacity` positions.
struct WindowArguments {
  HeadArguments heads;             // with cosine and sine of all positions, and no norms; 128 values a head
  const void* qkv = nullptr;       // [batch, count, (queries + 2 keys) * width], as a product leaves it
  void* keys = nullptr;            // [batch, keys, capacity, width]
  void* values = nullptr;          // the same
  const int64_t* first = nullptr;  // scalar
  void* mixed = nullptr;           // [batch, count, queries * width]
  int64_t batch = 0, count = 0, capacity = 0;
};
inline constexpr int64_t window_head_width = 128, max_window_rows = 64;
// In half precisions, from compute capability 9.0 on. False where the device refuses.
bool window_attention(Precision precision, const WindowArguments& arguments, cudaStream_t stream);

// Products of many rows on the tensor cores of compute capability 9.0, in half precisions.
struct TileProductArguments {
  const void* x = nullptr;                   // [rows, inner]
  const void* weight = nullptr;              // [outputs, inner]
  const void* bias = nullptr;                // [outputs], or none
  void* out = nullptr;                       // [rows, outputs]
  int64_t rows = 0, inner = 0, outputs = 0;  // inner and outputs are multiples of 8
  // Either of these follows, or nothing:
  bool activates = false;
  Activation activation = Activation::gelu;
  const float* angles = nullptr;  // [length, head_width / 2, 2], cosine and sine, or none; row r stands at r % length
  int64_t length = 1, head_width = 0, rotated_heads = 0;  // the first heads of a row
  bool adds = false;                                      // the rounded result to what stands in out
};
// Whether the current device has them and this build the code.
bool has_tile_products();
constexpr bool rotates_heads_of(int64_t head_width) {
  return head_width == 32 || head_width == 64 || head_width == 128;
}
// Whether a block keeps what it needs of a weight whose rows are so long.
bool keeps_weight(int64_t inner);
// False where the driver refuses, and nothing is computed.
bool tile_product(Precision precision, const TileProductArguments& arguments, cudaStream_t stream);

// Whether the current device has products of so few rows, of a tile product's precisions, with a bias or nothing.
bool takes_stream_product(int64_t rows);
// False where the driver or the device refuses, and nothing is computed.
bool stream_product(Precision precision, const TileProductArguments& arguments, cudaStream_t stream);

// The logarithm of a token's probability under the softmax of each row of x times the weight transposed.
struct JudgedProductArguments {
  const void* x = nullptr;                   // [rows, inner]
  const void* weight = nullptr;              // [outputs, inner]
  const int64_t* tokens = nullptr;           // [rows]
  int64_t rows = 0, inner = 0, outputs = 0;  // inner is a multiple of 8
  float* parts = nullptr;                    // [judged_parts_of(rows)], for one call at a time
  float* logits = nullptr;                   // [rows], of the tokens
  float* out = nullptr;                      // [rows]
  bool* broken = nullptr;                    // scalar, set where a value is not finite
};
// Whether the current device and this build have it, of a tile product's precisions.
bool takes_judged_product(int64_t inner);
int64_t judged_parts_of(int64_t rows);
// False where the driver refuses the matrices.
bool judged_product(Precision precision, const JudgedProductArguments& arguments, cudaStream_t stream);

// Every query sees every key; heads of 64 values, in half precisions, on the tensor cores of compute capability 9.0.
inline constexpr int attention_head = 64;
struct BidirectionalAttentionArguments {
  const void* qkv = nullptr;  // [batch, length, (heads + 2 * key_heads) * 64]
  void* mixed = nullptr;      // [batch, length, heads * 64]
  int64_t batch = 0, length = 0;
  int64_t heads = 0, key_heads = 0;  // key_heads divides heads
};
// False where the driver refuses, and nothing is computed. The device and the build are those of tile products.
bool bidirectional_attention(Precision precision, const BidirectionalAttentionArguments& arguments,
                             cudaStream_t stream);

struct Logits {
  const void* data = nullptr;  // [rows, outputs]
  int64_t row_stride = 0;      // a row is contiguous
  int64_t rows = 0;
  int64_t outputs = 0;
};

struct DrawArguments {
  Logits logits;
  const float* forbidden = nullptr;     // [outputs], 0 or -infinity
  const float* uniforms = nullptr;      // [rows]
  const bool* wanted = nullptr;         // [rows], or none: all. Other rows keep the given token, with probability 1
  const int64_t* given = nullptr;       // [rows], where wanted is
  int64_t* tokens = nullptr;            // [rows]
  float* probabilities = nullptr;       // [rows]
  bool* broken = nullptr;               // scalar, set where a probability is not finite
  float temperature = 1;                // 0: greedy
  const float* temperatures = nullptr;  // [rows / rows_per_temperature] in its place, or none
  int64_t rows_per_temperature = 1;
  int64_t top_k = 0;  // 0: off
  float top_p = 1;    // 1: off
};
void draw(Precision precision, const DrawArguments& arguments, cudaStream_t stream);

// Drawing the tokens that come next in texts that grow: all that follows a step's logits, in one kernel where there are
// few outputs.
struct NextDrawArguments {
  DrawArguments draw;                       // a row a text; of its pointers logits, forbidden and broken, and room
  const int64_t* seeds = nullptr;           // [rows], as uniform's
  const int64_t* sample_indices = nullptr;  // [rows]
  int64_t* steps = nullptr;                 // scalar, read and then one more
  uint32_t purpose = 0;
  int64_t* position = nullptr;  // scalar, one more, where the tokens then stand
  int64_t* text = nullptr;      // [rows, length], text_stride apart
  int64_t text_stride = 0;
  float* scores = nullptr;  // [length, rows], the tokens' untempered logarithms
  // Room where several kernels do it, as draw.tokens and draw.probabilities then are; else none.
  float* uniforms = nullptr;  // [rows]
  float* judged = nullptr;    // [rows]
};
inline constexpr int64_t max_next_draw_outputs = 256;  // of one kernel
inline constexpr int64_t max_next_draw_rows = 64;      // with so many outputs
constexpr bool draws_next_by_one_kernel(const Logits& logits) {
  return logits.outputs <= max_next_draw_outputs && logits.rows <= max_next_draw_rows;
}
void draw_next(Precision precision, const NextDrawArguments& arguments, cudaStream_t stream);

// The rules of pattern/completions.h, for texts that match patterns; others are left alone.
void draw_matching(Precision precision, const PatternArguments& arguments, cudaStream_t stream);

struct JudgeArguments {
  Logits logits;
  const int64_t* tokens = nullptr;  // [rows], or none: `column` of every row
  int64_t column = 0;
  float* out = nullptr;  // [rows], of softmax: its logarithm or itself
  bool logarithm = false;
  bool* broken = nullptr;  // scalar, set where a value is not finite
};
void judge(Precision precision, const JudgeArguments& arguments, cudaStream_t stream);

struct MeasureArguments {
  Logits logits;
  const int64_t* tokens = nullptr;   // [rows], or none: then of the three, only the entropy
  float* log_probability = nullptr;  // [rows], of the token
  float* margin = nullptr;           // [rows], between the two highest probabilities
  float* entropy = nullptr;          // [rows], nats, or what temperature follows from it
  bool* broken = nullptr;            // scalar, set where a row has no finite largest logit

  // Of EntropyRule: T and H0 of each text, or none.
  const float* temperatures = nullptr;  // [rows / rows_per_text]
  const float* whole = nullptr;         // [rows / rows_per_text], nats
  int64_t rows_per_text = 1;
  float power = 1, least = 0, most = 0;
};
void measure(Precision precision, const MeasureArguments& arguments, cudaStream_t stream);

// The counts[b * count_stride] eligible positions of b with the highest scores, or the `lowest`, the lower position
// first among equals.
struct RankArguments {
  const float* scores = nullptr;   // [batch, length]
  const bool* eligible = nullptr;  // [batch, length]
  const int64_t* counts = nullptr;
  int64_t count_stride = 0;
  bool lowest = false;
  int64_t batch = 0, length = 0;
};
// chosen[b, t]: whether t is one of them.
void highest(const RankArguments& arguments, bool* chosen, cudaStream_t stream);
// Whether they are few enough for each to count those before it.
bool ranks_at_once(const RankArguments& arguments);

// taken[b, t]: whether t is of the share of from[b] that spread() of sampling/reveal_policy.h takes; left[b, t]:
// whether it is of the rest.
struct SpreadArguments {
  const bool* from = nullptr;                       // [batch, length]
  const float *share = nullptr, *offset = nullptr;  // [batch], so far apart:
  int64_t share_stride = 0, offset_stride = 0;
  bool *taken = nullptr, *left = nullptr;  // [batch, length]
  int64_t length = 0;
};
void spread(const SpreadArguments& arguments, int64_t batch, cudaStream_t stream);

// One row of each plan's table is copied: plan p's begins at all + p * steps * columns.
template <typename Value>
struct StepTable {
  const Value* all = nullptr;  // [plans, steps, columns]
  Value* row = nullptr;        // [plans, columns]
  int64_t plans = 0, steps = 0, columns = 0;
};
// The numbers of sampling/noise.h, for one purpose to three.
struct NoiseArguments {
  const int64_t* seeds = nullptr;           // [batch]
  const int64_t* sample_indices = nullptr;  // [batch]
  const int64_t* steps = nullptr;           // [batch], step_stride apart
  int64_t step_stride = 0;
  uint32_t purpose[3] = {};
  int purposes = 1;
  float* out = nullptr;  // [purposes, batch, positions]
  int64_t batch = 0, positions = 0;
};
void uniform(const NoiseArguments& arguments, cudaStream_t stream);
// The same, and row *noise.steps of both tables, which have as many plans. `beside` the kernel before it, which writes
// nothing that this one reads.
void begin_step(const StepTable<int64_t>& counts, const StepTable<float>& numbers, const NoiseArguments& noise,
                bool beside, cudaStream_t stream);

struct EndStepArguments {
  int64_t* tokens = nullptr;  // [positions], as those below
  bool* masked = nullptr;
  const int64_t* drawn = nullptr;
  const bool* next_masked = nullptr;  // null: none is
  int64_t* step = nullptr;
  int64_t mask = 0, positions = 0;
};
// masked = next_masked, tokens = drawn or `mask` where that says so, and *step is one more.
void end_step(const EndStepArguments& arguments, cudaStream_t stream);
// The same with these as next_masked, where ranks_at_once(ranked); ranked.eligible is not arguments.masked.
void end_step_by(const RankArguments& ranked, const EndStepArguments& arguments, cudaStream_t stream);

// out = (1 - probability) * own + noise * chance, all [count].
void blend_doubt(const float* probability, const float* noise, float own, float chance, float* out, int64_t count,
                 cudaStream_t stream);

struct ExcessArguments {
  const int64_t* tokens = nullptr;  // [batch, length]
  const bool* masked = nullptr;     // [batch, length]
  const float* prior = nullptr;     // [batch, outputs]
  float* penalty = nullptr;         // [batch, outputs], for this call
  const void* logits = nullptr;     // [batch, length, outputs]
  void* weighed = nullptr;          // [batch, length, outputs]
  int64_t length = 0, outputs = 0;
  float by_count = 0, by_deviation = 0, usual_deviation = 0;
};
void less_excess(Precision precision, const ExcessArguments& arguments, int64_t batch, cudaStream_t stream);

struct DoubtArguments {
  const float* log_probability = nullptr;                       // [batch, length]
  const int64_t* tokens = nullptr;                              // [batch, length]
  const bool *drawn = nullptr, *eligible = nullptr;             // [batch, length]
  const bool* waiting = nullptr;                                // [batch, length] or none
  const float* noise = nullptr;                                 // [batch, length]
  const float *noise_scale = nullptr, *noise_left = nullptr;    // [batch], their strides apart
  const float* vocabulary_noise = nullptr;                      // [batch] or none
  const float* weight = nullptr;                                // [batch, outputs] or none
  const bool *begins_within = nullptr, *ends_within = nullptr;  // [outputs] or none
  float* doubt = nullptr;                                       // [batch, length]
  int64_t length = 0, outputs = 0, noise_scale_stride = 0, noise_left_stride = 0;
  float word_share = 0, noise_share = 0, new_token_bonus = 0, choice_temperature = 0, last_masked = 0;
  int64_t longest_word = 0;
};
void doubt(const DoubtArguments& arguments, int64_t batch, cudaStream_t stream);

struct RevealArguments {
  const float* certainty = nullptr;     // [batch, length]
  const bool* drawn = nullptr;          // [batch, length]
  const int64_t* steps_left = nullptr;  // [batch], steps_left_stride apart, or none
  int64_t steps_left_stride = 0;
  bool* masked = nullptr;  // [batch, length]
  int64_t batch = 0, length = 0;
};
inline constexpr int64_t max_reveal_length = 4096;  // positions of a text in shared memory, 8 bytes each
void reveal(const RevealRule& rule, const RevealArguments& arguments, cudaStream_t stream);

struct StabilityArguments {
  Logits logits;
  const int64_t* tokens = nullptr;  // [rows]
  float* previous = nullptr;        // [rows, outputs], log probabilities; read and overwritten
  int64_t* steady = nullptr;        // [rows], read and overwritten
  float* certainty = nullptr;       // [rows]
  bool* broken = nullptr;           // scalar, set where a row has no finite largest logit
  float least_probability = 0, divergence = 0;
  int64_t history = 0;
};
void stable_probability(Precision precision, const StabilityArguments& arguments, cudaStream_t stream);

struct TraceArguments {
  Logits logits;
  const int64_t* tokens = nullptr;   // [rows]; those past the outputs count as the last one
  const bool* masked = nullptr;      // [rows], where traced_masked is
  const float* forbidden = nullptr;  // [outputs], 0 or -infinity
  const int64_t* slot = nullptr;     // scalar: which of each table's parts to write
  int64_t* traced_tokens = nullptr;  // [slots, rows], or none
  bool* traced_masked = nullptr;     // [slots, rows], or none
  float* confidence = nullptr;       // [slots, rows], the token's probability
  int64_t* likeliest = nullptr;      // [slots, rows, likeliest_count], the lower id first among equals
  float* likeliest_probabilities = nullptr;
  int64_t likeliest_count = 0;  // at most outputs
};
inline constexpr int64_t max_traced_likeliest = 3;  // candidates that a thread keeps
void trace(Precision precision, const TraceArguments& arguments, cudaStream_t stream);

}  // namespace demask::kernels::cuda::launch

// The CPU kernels as plain functions of pointers, one table an instruction set and precision. The files that fill the
// tables are compiled for instructions that the machine may not have, so they include nothing whose inline functions
// other files share.
//
// A row's arithmetic never depends on which rows are computed beside it, nor on how work is split over threads: sums
// run over the inner dimension in order, whatever the tile. That is what makes a sample independent of its batch, bit
// for bit.
#pragma once

#include <cstdint>

// The loops over a tile's rows must become straight code for its sums to stay in registers.
#if defined(__clang__)
#define DEMASK_UNROLL _Pragma("unroll")
#else
#define DEMASK_UNROLL _Pragma("GCC unroll 16")
#endif

namespace demask::kernels::cpu {

// An element is what activations, weights, keys and values are stored in: float, or bfloat16 as its 16 bits. Sums,
// norms, softmax and the residual stream are float in either. The int8 tables have elements of float; their products
// take weights of int8, and activations that are made int8 row by row.

enum class Epilogue {
  store,         // elements
  store_single,  // float
  add,           // to what stands in out, float
  gelu,          // elements, of the exact GELU
  gelu_tanh,     // of its approximation by tanh
  silu,          // of x * sigmoid(x)
  // activation(gate) * up, elements. A panel holds half as many gates as it has columns, then what they let through.
  gated_gelu,
  gated_gelu_tanh,
  gated_silu,
};

struct ProductArguments {
  const void* a = nullptr;  // [rows, inner] elements, a_stride apart; rows as quantise writes them, bytes apart
  int64_t a_stride = 0;
  const void* packed = nullptr;  // weight [outputs, inner] in panels, see pack
  const float* bias = nullptr;   // [panels * columns]
  int64_t rows = 0, inner = 0;
  int64_t outputs = 0;                      // columns of out
  int64_t first_panel = 0, last_panel = 0;  // those to compute, the last one not
  Epilogue epilogue = Epilogue::store;
  void* out = nullptr;  // [rows, outputs], out_stride apart
  int64_t out_stride = 0;
};

struct AttendArguments {
  const void* queries = nullptr;  // [.., group, head_width] elements, query_stride apart
  int64_t query_stride = 0;
  const int64_t* chosen = nullptr;  // [rows], the queries to take, or none: the first `rows`
  const void* keys = nullptr;       // packed, see pack_keys
  const void* values = nullptr;     // packed
  int64_t rows = 0, head_width = 0;
  int64_t group = 1;           // query heads that share these keys
  int64_t capacity = 0;        // positions that keys and values have room for
  int64_t known = 0;           // positions that hold keys
  int64_t first_position = 0;  // of queries[0]; the others follow it
  bool causal = false;         // a query sees the keys up to its own position; otherwise all
  void* scratch = nullptr;     // attend_scratch bytes
  void* out = nullptr;         // [rows, group, head_width] elements, out_stride apart
  int64_t out_stride = 0;
};

struct Isa {
  const char* name;
  int64_t element_bytes;
  int64_t rows;     // of a tile: work is best cut into multiples
  int64_t columns;  // of a panel
  int64_t pair;     // neighbours of the inner dimension that lie side by side in panels: 1, 2 or 4

  int64_t (*panel_bytes)(int64_t inner);
  // weight [outputs, inner] float -> panels of `columns` outputs: [panels][inner / pair][columns][pair], missing ones
  // zero. In int8 each output's scale, its largest weight / 127, stands before them.
  void (*pack)(const float* weight, int64_t outputs, int64_t inner, void* packed);
  // One output's weights [inner] as the panels hold them.
  void (*unpack_row)(const void* packed, int64_t inner, int64_t output, float* weight);
  // x [rows, width] float, x_stride apart -> rows of quantised_row_bytes(width) for products. A row with NaN or an
  // infinity gives NaN. Null where products take elements as they are.
  void (*quantise)(const float* x, int64_t x_stride, int64_t rows, int64_t width, void* out) = nullptr;
  int64_t (*quantised_row_bytes)(int64_t width) = nullptr;
  void (*product)(const ProductArguments& arguments);

  // LayerNorm of x [rows, width] float into elements, out_stride apart. bias may be null.
  void (*norm)(const float* x, const float* weight, const float* bias, int64_t rows, int64_t width, float epsilon,
               void* out, int64_t out_stride);

  // RMSNorm, the same way.
  void (*rms_norm)(const float* x, const float* weight, int64_t rows, int64_t width, float epsilon, void* out,
                   int64_t out_stride);
  // RMSNorm of each of heads' [rows, heads * head_width] float by itself, in place. weight [head_width].
  void (*rms_norm_heads)(float* x, int64_t stride, int64_t rows, int64_t heads, int64_t head_width, const float* weight,
                         float epsilon);

  // Half-split rotary of heads' [rows, heads * head_width] float, in place; row r stands at
  // first_position + (first_row + r) % length. cosine, sine [positions, head_width / 2].
  void (*rotate)(float* x, int64_t stride, int64_t rows, int64_t first_row, int64_t length, int64_t first_position,
                 int64_t heads, int64_t head_width, const float* cosine, const float* sine);

  // float to elements, [rows, width].
  void (*convert)(const float* x, int64_t x_stride, int64_t rows, int64_t width, void* out, int64_t out_stride);

  // Keys and values [count, head_width] elements, `stride` apart, of the positions from `first` on, into packed ones:
  // keys [panels of `columns` positions][head_width][columns], values [panels of `columns` of head_width][capacity]
  // [columns], both with pairs side by side in bfloat16. capacity: a multiple of columns. Values of positions that were
  // not written, up to the next multiple of columns, must be finite before they are attended to.
  void (*pack_keys)(const void* keys, const void* values, int64_t stride, int64_t first, int64_t count,
                    int64_t head_width, int64_t capacity, void* packed_keys, void* packed_values);
  // Scaled dot-product attention, scores times 1 / sqrt(head_width).
  void (*attend)(const AttendArguments& arguments);
  int64_t (*attend_scratch)(int64_t head_width, int64_t capacity);
};

// Null where this build or this machine does not have the instructions: AVX2 with FMA or AVX-512 for float, AVX-512
// with BF16 for bfloat16; for int8 AVX2 with FMA, the same with AVX-VNNI, or AVX-512 with VNNI. Never null: portable.
const Isa* avx2_float();
const Isa* avx512_float();
const Isa* avx512_bfloat16();
const Isa* avx2_int8();
const Isa* avx_vnni();
const Isa* avx512_vnni();
const Isa* portable_int8();

// The tables themselves, not to be touched where the machine does not have the instructions.
namespace compiled {
const Isa* avx2_float();
const Isa* avx512_float();
const Isa* avx512_bfloat16();
const Isa* avx2_int8();
const Isa* avx_vnni();
const Isa* avx512_vnni();
}  // namespace compiled

}  // namespace demask::kernels::cpu

// Products with weights and activations in int8, for files whose elements are floats, after cpu_simd.h and a `Dot`: the
// instructions that multiply. Sums are whole numbers, so every instruction set computes the same ones.
//
// An output's weights share a scale, a row's activations too: what stands for x is x / scale, rounded, from -127 to
// 127, where the largest |x| is 127 times the scale (per-token and per-channel quantization: Xiao et al. 2023,
// SmoothQuant; Yao et al. 2022, ZeroQuant).
namespace demask::kernels::cpu {
namespace {

constexpr float largest_step = 127.0F;

// One over the scale, or 0 for a row of zeros.
inline float steps_for_one(float largest) {
  return largest > 0.0F ? largest_step / largest : 0.0F;
}

// Before a panel's weights.
struct PanelHead {
  float scale[panel_columns];
  int32_t start[panel_columns];  // of the sums, which takes back what Dot::offset adds to them
};

// After a row's activations: their scale.
constexpr int64_t row_tail_bytes = sizeof(float);

struct Int8Tile {
  using Operand = char;
  using Activation = Dot::Activation;
  static constexpr int64_t pair = Dot::pair;
  static constexpr unsigned rows = tile_rows;
  static constexpr int64_t head_bytes = sizeof(PanelHead);

  static inline int64_t panel_size(int64_t inner) { return head_bytes + panel_columns * round_up(inner, pair); }

  static inline int64_t activation_bytes(int64_t inner) {
    return round_up(inner, pair) * static_cast<int64_t>(sizeof(Activation));
  }

  // sums[row] = a[row] x panel; a [rows] as quantise writes them, panel as pack does.
  template <unsigned count>
  static inline __attribute__((always_inline)) void multiply(const char* a, int64_t a_stride, const char* panel,
                                                             int64_t inner, Lanes (&sums)[count][2]) {
    const PanelHead& head = *reinterpret_cast<const PanelHead*>(panel);
    const int8_t* weights = reinterpret_cast<const int8_t*>(panel + head_bytes);
    Dot::Sums whole[count][2];
    DEMASK_UNROLL
    for (unsigned row = 0; row < count; ++row) {
      whole[row][0] = Dot::start(head.start);
      whole[row][1] = Dot::start(head.start + Lanes::width);
    }
    for (int64_t k = 0; k < inner; k += pair, weights += panel_columns * pair) {
      const Dot::Weights first = Dot::weights(weights), second = Dot::weights(weights + Lanes::width * pair);
      DEMASK_UNROLL
      for (unsigned row = 0; row < count; ++row) {
        const auto x = Dot::splat(a + row * a_stride + k * static_cast<int64_t>(sizeof(Activation)));
        whole[row][0] = Dot::add(whole[row][0], x, first);
        whole[row][1] = Dot::add(whole[row][1], x, second);
      }
    }
    DEMASK_UNROLL
    for (unsigned row = 0; row < count; ++row) {
      const Lanes scale = splat(*reinterpret_cast<const float*>(a + row * a_stride + activation_bytes(inner)));
      sums[row][0] = Dot::to_float(whole[row][0]) * (scale * load(head.scale));
      sums[row][1] = Dot::to_float(whole[row][1]) * (scale * load(head.scale + Lanes::width));
    }
  }
};

inline int64_t quantised_row_bytes(int64_t inner) {
  return Int8Tile::activation_bytes(inner) + row_tail_bytes;
}

inline float largest_of(const float* x, int64_t width) {
  const int64_t whole = width / Lanes::width * Lanes::width;
  Lanes most = splat(0.0F);
  for (int64_t i = 0; i < whole; i += Lanes::width) {
    most = max(most, absolute(load(x + i)));
  }
  float largest = highest(most);
  for (int64_t i = whole; i < width; ++i) {
    const float size = x[i] < 0.0F ? -x[i] : x[i];
    largest = size > largest ? size : largest;
  }
  return largest;
}

// 0, or NaN where one of them is NaN or infinite, which whole numbers cannot say.
inline float zero_if_finite(const float* x, int64_t width) {
  const int64_t whole = width / Lanes::width * Lanes::width;
  Lanes zeros = splat(0.0F);
  for (int64_t i = 0; i < whole; i += Lanes::width) {
    zeros = multiply_add(load(x + i), splat(0.0F), zeros);
  }
  float zero = total(zeros);
  for (int64_t i = whole; i < width; ++i) {
    zero += x[i] * 0.0F;
  }
  return zero;
}

// x [width] times `factor`, rounded, and `offset` more.
template <typename Whole>
inline void round_row(const float* x, int64_t width, float factor, int32_t offset, Whole* out) {
  for (int64_t first = 0; first < width; first += Lanes::width) {
    const int64_t left = width - first, count = left < Lanes::width ? left : Lanes::width;
    alignas(64) float some[Lanes::width] = {};
    for (int64_t i = 0; i < count; ++i) {
      some[i] = x[first + i];
    }
    store(some, round_to_integer(load(some) * splat(factor)));
    for (int64_t i = 0; i < count; ++i) {
      out[first + i] = static_cast<Whole>(static_cast<int32_t>(some[i]) + offset);
    }
  }
}

void quantise(const float* x, int64_t x_stride, int64_t rows, int64_t width, void* out) {
  char* row = static_cast<char*>(out);
  for (int64_t i = 0; i < rows; ++i, x += x_stride, row += quantised_row_bytes(width)) {
    auto* const whole = reinterpret_cast<Dot::Activation*>(row);
    const float largest = largest_of(x, width), zero = zero_if_finite(x, width);
    const bool finite = zero == 0.0F;
    const int64_t rounded = finite ? width : 0;
    round_row(x, rounded, steps_for_one(largest), Dot::offset, whole);
    for (int64_t k = rounded; k < round_up(width, Dot::pair); ++k) {
      whole[k] = 0;  // it meets weights of zero, or a scale of NaN
    }
    *reinterpret_cast<float*>(row + Int8Tile::activation_bytes(width)) = finite ? largest / largest_step : zero;
  }
}

// One output's weights into its column of a panel. Returns their sum.
inline int32_t pack_column(const float* weight, int64_t inner, float factor, int8_t* column) {
  constexpr int64_t pair = Dot::pair, most = 256;
  int32_t sum = 0;
  for (int64_t first = 0; first < inner; first += most) {
    int8_t some[most];
    const int64_t left = inner - first, count = left < most ? left : most;
    round_row(weight + first, count, factor, 0, some);
    for (int64_t i = 0; i < count; ++i) {
      column[(first + i) / pair * pair * panel_columns + i % pair] = some[i];
      sum += some[i];
    }
  }
  return sum;
}

void pack_int8(const float* weight, int64_t outputs, int64_t inner, void* packed) {
  char* panel = static_cast<char*>(packed);
  const int64_t bytes = panel_columns * round_up(inner, Dot::pair);
  for (int64_t first = 0; first < outputs; first += panel_columns, panel += Int8Tile::panel_size(inner)) {
    PanelHead& head = *reinterpret_cast<PanelHead*>(panel);
    int8_t* const weights = reinterpret_cast<int8_t*>(panel + Int8Tile::head_bytes);
    for (int64_t i = 0; i < bytes; ++i) {
      weights[i] = 0;
    }
    for (int64_t c = 0; c < panel_columns; ++c) {
      const bool there = first + c < outputs;
      const float* const row = weight + (first + c) * inner;
      const float largest = there ? largest_of(row, inner) : 0.0F;
      head.scale[c] = largest / largest_step;
      head.start[c] =
          there ? -Dot::offset * pack_column(row, inner, steps_for_one(largest), weights + c * Dot::pair) : 0;
    }
  }
}

void unpack_int8_row(const void* packed, int64_t inner, int64_t output, float* weight) {
  constexpr int64_t pair = Dot::pair;
  const char* const panel = static_cast<const char*>(packed) + output / panel_columns * Int8Tile::panel_size(inner);
  const float scale = reinterpret_cast<const PanelHead*>(panel)->scale[output % panel_columns];
  const int8_t* const column =
      reinterpret_cast<const int8_t*>(panel + Int8Tile::head_bytes) + output % panel_columns * pair;
  for (int64_t k = 0; k < inner; ++k) {
    weight[k] = scale * static_cast<float>(column[k / pair * pair * panel_columns + k % pair]);
  }
}

Isa make_int8_isa(const char* name) {
  Isa isa = make_isa<Int8Tile>(name);
  isa.pack = pack_int8;
  isa.unpack_row = unpack_int8_row;
  isa.quantised_row_bytes = quantised_row_bytes;
  isa.quantise = quantise;
  return isa;
}

}  // namespace
}  // namespace demask::kernels::cpu

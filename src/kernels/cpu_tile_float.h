// Products of floats: one multiply-add a weight.
namespace demask::kernels::cpu {
namespace {

using Element = float;
inline float to_element(float x) {
  return x;
}
inline float from_element(float x) {
  return x;
}

struct Tile {
  using Operand = Element;
  static constexpr int64_t pair = 1;  // neighbours of the inner dimension that one instruction takes
  static constexpr unsigned rows = tile_rows;
  static int64_t panel_size(int64_t inner) { return 2 * Lanes::width * inner; }

  // As many outputs' pairs as there are lanes, and as panels store them.
  static Lanes pairs_of(const float* weight) { return load(weight); }
  static void store_pairs(Element* packed, Lanes pairs) { store(packed, pairs); }

  // sums[row] = a[row] x panel; a [rows, inner], panel [inner][two vectors].
  template <unsigned count>
  static inline __attribute__((always_inline)) void multiply(const float* a, int64_t a_stride, const float* panel,
                                                             int64_t inner, Lanes (&sums)[count][2]) {
    DEMASK_UNROLL
    for (unsigned row = 0; row < count; ++row) {
      sums[row][0] = sums[row][1] = splat(0.0F);
    }
    for (int64_t k = 0; k < inner; ++k, panel += 2 * Lanes::width) {
      const Lanes first = load(panel), second = load(panel + Lanes::width);
      DEMASK_UNROLL
      for (unsigned row = 0; row < count; ++row) {
        const Lanes x = splat(a[row * a_stride + k]);
        sums[row][0] = multiply_add(x, first, sums[row][0]);
        sums[row][1] = multiply_add(x, second, sums[row][1]);
      }
    }
  }
};

}  // namespace
}  // namespace demask::kernels::cpu

// Compiled with AVX-512 and its BF16 instructions, run only where the machine has them.
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "kernels/cpu_isa.h"
#include "kernels/cpu_lanes_avx512.h"

namespace demask::kernels::cpu {
namespace {

using Element = uint16_t;

// To nearest, ties to even; NaN stays NaN.
inline uint16_t to_element(float x) {
  uint32_t bits = 0;
  std::memcpy(&bits, &x, sizeof bits);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) {
    return 0x7FC0;
  }
  return static_cast<uint16_t>((bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16);
}

inline float from_element(uint16_t x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float single = 0.0F;
  std::memcpy(&single, &bits, sizeof bits);
  return single;
}

inline void store(uint16_t* p, Lanes x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x.v)));
}

struct Tile {
  using Operand = Element;
  static constexpr int64_t pair = 2;
  static constexpr unsigned rows = 12;
  static int64_t panel_size(int64_t inner) { return 2 * Lanes::width * ((inner + 1) / 2 * 2); }

  // As many pairs of an output's weights as there are lanes, and as panels store them.
  static Lanes pairs_of(const float* weight) {
    const __m512i upper_halves = _mm512_set_epi16(63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33, 31,
                                                  29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
    return {_mm512_castsi512_ps(_mm512_permutex2var_epi16(rounded(weight), upper_halves, rounded(weight + 16)))};
  }
  static void store_pairs(Element* packed, Lanes pairs) { _mm512_storeu_ps(packed, pairs.v); }

  // sums[row] = a[row] x panel; a [rows, inner], panel [inner / 2][two vectors of pairs]. Two products a lane are
  // summed at once (VDPBF16PS).
  template <unsigned count>
  static inline __attribute__((always_inline)) void multiply(const uint16_t* a, int64_t a_stride, const uint16_t* panel,
                                                             int64_t inner, Lanes (&sums)[count][2]) {
    DEMASK_UNROLL
    for (unsigned row = 0; row < count; ++row) {
      sums[row][0] = sums[row][1] = splat(0.0F);
    }
    for (int64_t k = 0; k < inner; k += pair, panel += 4 * Lanes::width) {
      const __m512bh first = pairs(panel), second = pairs(panel + 2 * Lanes::width);
      DEMASK_UNROLL
      for (unsigned row = 0; row < count; ++row) {
        int32_t both = 0;
        std::memcpy(&both, a + row * a_stride + k, sizeof both);
        const auto x = reinterpret_cast<__m512bh>(_mm512_set1_epi32(both));
        sums[row][0].v = _mm512_dpbf16_ps(sums[row][0].v, x, first);
        sums[row][1].v = _mm512_dpbf16_ps(sums[row][1].v, x, second);
      }
    }
  }

 private:
  // Sixteen of to_element, in the upper halves. The machine's own conversion takes denormals for zero.
  static __m512i rounded(const float* weight) {
    const __m512 x = _mm512_loadu_ps(weight);
    const __m512i bits = _mm512_castps_si512(x);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(_mm512_add_epi32(bits, odd), _mm512_set1_epi32(0x7FFF));
    return _mm512_mask_mov_epi32(up, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), _mm512_set1_epi32(0x7FC00000));
  }
  static __m512bh pairs(const uint16_t* p) { return reinterpret_cast<__m512bh>(_mm512_loadu_si512(p)); }
};

}  // namespace
}  // namespace demask::kernels::cpu

#include "kernels/cpu_simd.h"

namespace demask::kernels::cpu::compiled {

const Isa* avx512_bfloat16() {
  static const Isa isa = make_isa("AVX-512 BF16");
  return &isa;
}

}  // namespace demask::kernels::cpu::compiled

// Compiled with AVX2 and FMA, run only where the machine has them.
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "kernels/cpu_isa.h"

namespace demask::kernels::cpu {
namespace {
constexpr unsigned tile_rows = 6;  // 12 of 16 registers hold sums
}
}  // namespace demask::kernels::cpu

#include "kernels/cpu_lanes_avx2.h"
#include "kernels/cpu_tile_float.h"
// After what it needs.
#include "kernels/cpu_simd.h"
//
#include "kernels/cpu_dot_madd.h"
//
#include "kernels/cpu_int8.h"

namespace demask::kernels::cpu::compiled {

const Isa* avx2_int8() {
  static const Isa isa = make_int8_isa("AVX2 int8");
  return &isa;
}

}  // namespace demask::kernels::cpu::compiled

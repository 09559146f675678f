// Compiled with AVX2 and FMA, run only where the machine has them.
#include <immintrin.h>

#include <cstdint>

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

namespace demask::kernels::cpu::compiled {

const Isa* avx2_float() {
  static const Isa isa = make_isa("AVX2");
  return &isa;
}

}  // namespace demask::kernels::cpu::compiled

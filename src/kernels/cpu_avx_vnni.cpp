// Compiled with AVX2, FMA and the 256-bit VNNI instructions, run only where the machine has them.
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
#include "kernels/cpu_dot_vnni256.h"
//
#include "kernels/cpu_int8.h"

namespace demask::kernels::cpu::compiled {

const Isa* avx_vnni() {
  static const Isa isa = make_int8_isa("AVX-VNNI");
  return &isa;
}

}  // namespace demask::kernels::cpu::compiled

// Compiled with AVX-512, run only where the machine has it.
#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu_isa.h"

namespace demask::kernels::cpu {
namespace {
constexpr unsigned tile_rows = 12;  // 24 of 32 registers hold sums
}
}  // namespace demask::kernels::cpu

#include "kernels/cpu_lanes_avx512.h"
#include "kernels/cpu_tile_float.h"
// After what it needs.
#include "kernels/cpu_simd.h"

namespace demask::kernels::cpu::compiled {

const Isa* avx512_float() {
  static const Isa isa = make_isa("AVX-512");
  return &isa;
}

}  // namespace demask::kernels::cpu::compiled

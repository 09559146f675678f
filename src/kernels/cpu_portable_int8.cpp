// Compiled for any processor.
#include <cstdint>
#include <cstring>

#include "kernels/cpu_isa.h"

namespace demask::kernels::cpu {
namespace {
constexpr unsigned tile_rows = 4;
}
}  // namespace demask::kernels::cpu

#include "kernels/cpu_lanes_portable.h"
#include "kernels/cpu_tile_float.h"
// After what it needs.
#include "kernels/cpu_simd.h"
//
#include "kernels/cpu_dot_portable.h"
//
#include "kernels/cpu_int8.h"

namespace demask::kernels::cpu {

const Isa* portable_int8() {
  static const Isa isa = make_int8_isa("int8 on any processor");
  return &isa;
}

}  // namespace demask::kernels::cpu

// For processors that demask has no CPU kernels for.
#include "kernels/cpu_isa.h"

namespace demask::kernels::cpu {

const Isa* avx2_float() {
  return nullptr;
}
const Isa* avx512_float() {
  return nullptr;
}
const Isa* avx512_bfloat16() {
  return nullptr;
}
const Isa* avx2_int8() {
  return nullptr;
}
const Isa* avx_vnni() {
  return nullptr;
}
const Isa* avx512_vnni() {
  return nullptr;
}

}  // namespace demask::kernels::cpu

// Asks the machine what it has. Compiled for any x86-64: in the files that are compiled for more, even a function's
// first instruction may be one that the machine does not know.
#include "kernels/cpu_isa.h"

namespace demask::kernels::cpu {
namespace {

bool has_avx512() {
  return __builtin_cpu_supports("fma") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}

}  // namespace

const Isa* avx2_float() {
  return __builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2") ? compiled::avx2_float() : nullptr;
}

const Isa* avx512_float() {
  return has_avx512() ? compiled::avx512_float() : nullptr;
}

const Isa* avx512_bfloat16() {
  return has_avx512() && __builtin_cpu_supports("avx512bf16") ? compiled::avx512_bfloat16() : nullptr;
}

}  // namespace demask::kernels::cpu

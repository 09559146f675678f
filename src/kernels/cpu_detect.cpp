// Asks the machine what it has. Compiled for any x86-64: in the files that are compiled for more, even a function's
// first instruction may be one that the machine does not know.
#include <cpuid.h>

#include "kernels/cpu_isa.h"

namespace demask::kernels::cpu {
namespace {

bool has_avx2() {
  return __builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2");
}

// Intel's manual, CPUID.(EAX=7,ECX=1):EAX bit 4; not every compiler knows it by a name.
bool has_avx_vnni() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax >> 4 & 1U) != 0;
}

bool has_avx512() {
  return __builtin_cpu_supports("fma") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}

}  // namespace

const Isa* avx2_float() {
  return has_avx2() ? compiled::avx2_float() : nullptr;
}

const Isa* avx512_float() {
  return has_avx512() ? compiled::avx512_float() : nullptr;
}

const Isa* avx512_bfloat16() {
  return has_avx512() && __builtin_cpu_supports("avx512bf16") ? compiled::avx512_bfloat16() : nullptr;
}

const Isa* avx2_int8() {
  return has_avx2() ? compiled::avx2_int8() : nullptr;
}

const Isa* avx_vnni() {
  return has_avx2() && has_avx_vnni() ? compiled::avx_vnni() : nullptr;
}

const Isa* avx512_vnni() {
  return has_avx512() && __builtin_cpu_supports("avx512vnni") ? compiled::avx512_vnni() : nullptr;
}

}  // namespace demask::kernels::cpu

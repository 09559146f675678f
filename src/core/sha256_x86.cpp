#include "core/sha256_blocks.h"

#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>

namespace demask::sha256 {

// Intel's manual, CPUID.(EAX=7,ECX=0):EBX bit 29; not every compiler knows it by a name.
bool has_instructions() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (ebx >> 29 & 1U) != 0 &&
         __builtin_cpu_supports("ssse3") && __builtin_cpu_supports("sse4.1");
}

#define DEMASK_SHA __attribute__((target("sha,ssse3,sse4.1")))

namespace {

// The variables as the instructions have them, the first named in the highest lane.
struct Variables {
  __m128i abef, cdgh;
};

DEMASK_SHA Variables variables_of(const State& state) {
  const auto* words = reinterpret_cast<const __m128i*>(state.data());
  const __m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128(words), 0xB1);
  const __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128(words + 1), 0x1B);
  return {_mm_alignr_epi8(cdab, efgh, 8), _mm_blend_epi16(efgh, cdab, 0xF0)};
}

DEMASK_SHA void store(const Variables& from, State& state) {
  auto* words = reinterpret_cast<__m128i*>(state.data());
  const __m128i feba = _mm_shuffle_epi32(from.abef, 0x1B), dchg = _mm_shuffle_epi32(from.cdgh, 0xB1);
  _mm_storeu_si128(words, _mm_blend_epi16(feba, dchg, 0xF0));
  _mm_storeu_si128(words + 1, _mm_alignr_epi8(dchg, feba, 8));
}

// Four rounds, of words and constants added up.
DEMASK_SHA inline void four_rounds(Variables& v, __m128i input) {
  v.cdgh = _mm_sha256rnds2_epu32(v.cdgh, v.abef, input);
  v.abef = _mm_sha256rnds2_epu32(v.abef, v.cdgh, _mm_shuffle_epi32(input, 0x0E));
}

// The four words of the schedule after 16, the oldest of which are `first`.
DEMASK_SHA inline __m128i next_words(__m128i first, __m128i second, __m128i third, __m128i fourth) {
  const __m128i added = _mm_add_epi32(_mm_sha256msg1_epu32(first, second), _mm_alignr_epi8(fourth, third, 4));
  return _mm_sha256msg2_epu32(added, fourth);
}

}  // namespace

DEMASK_SHA void compress_by_instructions(State& state, const unsigned char* blocks, size_t count) {
  const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  const auto* constants = reinterpret_cast<const __m128i*>(round_constants.data());
  Variables variables = variables_of(state);
  for (; count > 0; --count, blocks += block_bytes) {
    const Variables before = variables;
    const auto* block = reinterpret_cast<const __m128i*>(blocks);
    __m128i first = _mm_shuffle_epi8(_mm_loadu_si128(block), big_endian);
    __m128i second = _mm_shuffle_epi8(_mm_loadu_si128(block + 1), big_endian);
    __m128i third = _mm_shuffle_epi8(_mm_loadu_si128(block + 2), big_endian);
    __m128i fourth = _mm_shuffle_epi8(_mm_loadu_si128(block + 3), big_endian);
    for (size_t four = 0; four < 16; ++four) {
      four_rounds(variables, _mm_add_epi32(first, _mm_loadu_si128(constants + four)));
      const __m128i next = next_words(first, second, third, fourth);
      first = second;
      second = third;
      third = fourth;
      fourth = next;
    }
    variables.abef = _mm_add_epi32(variables.abef, before.abef);
    variables.cdgh = _mm_add_epi32(variables.cdgh, before.cdgh);
  }
  store(variables, state);
}

#undef DEMASK_SHA

}  // namespace demask::sha256

#else  // a machine without them

namespace demask::sha256 {

bool has_instructions() {
  return false;
}
void compress_by_instructions(State& state, const unsigned char* blocks, size_t count) {
  compress_portably(state, blocks, count);
}

}  // namespace demask::sha256

#endif

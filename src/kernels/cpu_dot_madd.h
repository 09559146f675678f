// Eight sums of products of int16 with int8 that is widened when it is read (VPMADDWD). Products of u8 with int8
// (VPMADDUBSW) would be summed two by two in int16, where two of them need not fit.
namespace demask::kernels::cpu {
namespace {

struct Dot {
  static constexpr int64_t pair = 2;
  static constexpr int32_t offset = 0;
  using Activation = int16_t;
  using Sums = __m256i;
  using Weights = __m256i;

  static Sums start(const int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static Weights weights(const int8_t* p) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static __m256i splat(const char* a) {
    int32_t both = 0;
    std::memcpy(&both, a, sizeof both);
    return _mm256_set1_epi32(both);
  }
  static Sums add(Sums sums, __m256i a, Weights w) { return _mm256_add_epi32(sums, _mm256_madd_epi16(a, w)); }
  static Lanes to_float(Sums sums) { return {_mm256_cvtepi32_ps(sums)}; }
};

}  // namespace
}  // namespace demask::kernels::cpu

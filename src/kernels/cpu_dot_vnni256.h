// Eight sums of four products of u8 with int8, as cpu_dot_vnni512.h has sixteen.
namespace demask::kernels::cpu {
namespace {

struct Dot {
  static constexpr int64_t pair = 4;
  static constexpr int32_t offset = 128;
  using Activation = uint8_t;
  using Sums = __m256i;
  using Weights = __m256i;

  static Sums start(const int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static Weights weights(const int8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static __m256i splat(const char* a) {
    int32_t four = 0;
    std::memcpy(&four, a, sizeof four);
    return _mm256_set1_epi32(four);
  }
  static Sums add(Sums sums, __m256i a, Weights w) { return _mm256_dpbusd_avx_epi32(sums, a, w); }
  static Lanes to_float(Sums sums) { return {_mm256_cvtepi32_ps(sums)}; }
};

}  // namespace
}  // namespace demask::kernels::cpu

// Sixteen sums of four products of u8 with int8 (VPDPBUSD), which wrap around; activations are 128 more than they are.
namespace demask::kernels::cpu {
namespace {

struct Dot {
  static constexpr int64_t pair = 4;
  static constexpr int32_t offset = 128;
  using Activation = uint8_t;
  using Sums = __m512i;
  using Weights = __m512i;

  static Sums start(const int32_t* p) { return _mm512_loadu_si512(p); }
  static Weights weights(const int8_t* p) { return _mm512_loadu_si512(p); }
  static __m512i splat(const char* a) {
    int32_t four = 0;
    std::memcpy(&four, a, sizeof four);
    return _mm512_set1_epi32(four);
  }
  static Sums add(Sums sums, __m512i a, Weights w) { return _mm512_dpbusd_epi32(sums, a, w); }
  static Lanes to_float(Sums sums) { return {_mm512_cvtepi32_ps(sums)}; }
};

}  // namespace
}  // namespace demask::kernels::cpu

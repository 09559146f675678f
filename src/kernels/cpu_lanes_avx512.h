// Sixteen floats at once.
namespace demask::kernels::cpu {
namespace {

struct Lanes {
  static constexpr int64_t width = 16;
  __m512 v;
};

inline Lanes splat(float x) {
  return {_mm512_set1_ps(x)};
}
inline Lanes load(const float* p) {
  return {_mm512_loadu_ps(p)};
}
inline void store(float* p, Lanes x) {
  _mm512_storeu_ps(p, x.v);
}
inline Lanes operator+(Lanes a, Lanes b) {
  return {_mm512_add_ps(a.v, b.v)};
}
inline Lanes operator-(Lanes a, Lanes b) {
  return {_mm512_sub_ps(a.v, b.v)};
}
inline Lanes operator*(Lanes a, Lanes b) {
  return {_mm512_mul_ps(a.v, b.v)};
}
inline Lanes operator/(Lanes a, Lanes b) {
  return {_mm512_div_ps(a.v, b.v)};
}
inline Lanes multiply_add(Lanes a, Lanes b, Lanes c) {
  return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
inline Lanes max(Lanes a, Lanes b) {
  return {_mm512_max_ps(a.v, b.v)};
}
inline Lanes absolute(Lanes a) {
  return {_mm512_abs_ps(a.v)};
}
inline Lanes round_to_integer(Lanes a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
// a * 2^n for whole n.
inline Lanes scale_by_power_of_two(Lanes a, Lanes n) {
  return {_mm512_scalef_ps(a.v, n.v)};
}
// Rows become columns.
inline void transpose(Lanes (&x)[Lanes::width]) {
  __m512 a[Lanes::width], b[Lanes::width];
  // Of every four rows, each 128 bits: pairs, then fours of a column.
  DEMASK_UNROLL
  for (int64_t i = 0; i < Lanes::width; i += 2) {
    a[i] = _mm512_unpacklo_ps(x[i].v, x[i + 1].v);
    a[i + 1] = _mm512_unpackhi_ps(x[i].v, x[i + 1].v);
  }
  DEMASK_UNROLL
  for (int64_t i = 0; i < Lanes::width; i += 4) {
    for (int64_t half = 0; half < 2; ++half) {
      const __m512d low = _mm512_castps_pd(a[i + half]), high = _mm512_castps_pd(a[i + 2 + half]);
      b[i + 2 * half] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
      b[i + 2 * half + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
    }
  }
  // b[4 g + c] holds in its part p rows 4 g .. of column 4 p + c.
  DEMASK_UNROLL
  for (int64_t c = 0; c < 4; ++c) {
    const __m512 first = _mm512_shuffle_f32x4(b[c], b[4 + c], 0x88),
                 second = _mm512_shuffle_f32x4(b[8 + c], b[12 + c], 0x88);
    const __m512 third = _mm512_shuffle_f32x4(b[c], b[4 + c], 0xDD),
                 fourth = _mm512_shuffle_f32x4(b[8 + c], b[12 + c], 0xDD);
    x[c].v = _mm512_shuffle_f32x4(first, second, 0x88);
    x[4 + c].v = _mm512_shuffle_f32x4(third, fourth, 0x88);
    x[8 + c].v = _mm512_shuffle_f32x4(first, second, 0xDD);
    x[12 + c].v = _mm512_shuffle_f32x4(third, fourth, 0xDD);
  }
}
// a where x > 0, b elsewhere.
inline Lanes select_positive(Lanes x, Lanes a, Lanes b) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(x.v, _mm512_setzero_ps(), _CMP_GT_OQ), b.v, a.v)};
}
inline float total(Lanes a) {
  return _mm512_reduce_add_ps(a.v);
}
inline float highest(Lanes a) {
  return _mm512_reduce_max_ps(a.v);
}
inline float square_root(float x) {
  return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x)));
}

}  // namespace
}  // namespace demask::kernels::cpu

// Four floats at once in the vectors that GCC and Clang have for any processor.
namespace demask::kernels::cpu {
namespace {

struct Lanes {
  static constexpr int64_t width = 4;
  using Floats = float __attribute__((vector_size(16)));
  using Wholes = int32_t __attribute__((vector_size(16)));
  Floats v;
};

inline Lanes splat(float x) {
  return {Lanes::Floats{x, x, x, x}};
}
inline Lanes load(const float* p) {
  Lanes x;
  std::memcpy(&x.v, p, sizeof x.v);
  return x;
}
inline void store(float* p, Lanes x) {
  std::memcpy(p, &x.v, sizeof x.v);
}
inline Lanes operator+(Lanes a, Lanes b) {
  return {a.v + b.v};
}
inline Lanes operator-(Lanes a, Lanes b) {
  return {a.v - b.v};
}
inline Lanes operator*(Lanes a, Lanes b) {
  return {a.v * b.v};
}
inline Lanes operator/(Lanes a, Lanes b) {
  return {a.v / b.v};
}
inline Lanes multiply_add(Lanes a, Lanes b, Lanes c) {
  return {a.v * b.v + c.v};
}
inline Lanes max(Lanes a, Lanes b) {
  return {a.v > b.v ? a.v : b.v};
}
inline Lanes absolute(Lanes a) {
  Lanes::Wholes bits = reinterpret_cast<Lanes::Wholes>(a.v);
  bits &= 0x7FFFFFFF;
  return {reinterpret_cast<Lanes::Floats>(bits)};
}
// For |a| below 2^22: beside 1.5 * 2^23 a float has no room for a fraction.
inline Lanes round_to_integer(Lanes a) {
  const Lanes large = splat(12582912.0F);
  return (a + large) - large;
}
// a * 2^n for whole n from -126 to 127.
inline Lanes scale_by_power_of_two(Lanes a, Lanes n) {
  const Lanes::Wholes exponent = __builtin_convertvector(n.v, Lanes::Wholes) * (1 << 23);
  return {reinterpret_cast<Lanes::Floats>(reinterpret_cast<Lanes::Wholes>(a.v) + exponent)};
}
// Rows become columns.
inline void transpose(Lanes (&x)[Lanes::width]) {
  for (int64_t row = 0; row < Lanes::width; ++row) {
    for (int64_t column = 0; column < row; ++column) {
      const float below = x[row].v[column];
      x[row].v[column] = x[column].v[row];
      x[column].v[row] = below;
    }
  }
}
// a where x > 0, b elsewhere.
inline Lanes select_positive(Lanes x, Lanes a, Lanes b) {
  return {x.v > splat(0.0F).v ? a.v : b.v};
}
inline float total(Lanes a) {
  return (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]);
}
inline float highest(Lanes a) {
  const float first = a.v[0] > a.v[1] ? a.v[0] : a.v[1], second = a.v[2] > a.v[3] ? a.v[2] : a.v[3];
  return first > second ? first : second;
}
inline float square_root(float x) {
  return __builtin_sqrtf(x);
}

}  // namespace
}  // namespace demask::kernels::cpu

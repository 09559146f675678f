// Elementary functions of a vector of floats; see cpu_simd.h.
namespace demask::kernels::cpu {
namespace {

// e^x for x <= 0, relative error below 2e-7, down to 1e-38, which it gives for whatever is smaller. Reduction to
// |r| <= ln 2 / 2 and the polynomial of expf in the Cephes library (Moshier 1989).
inline Lanes exponential(Lanes x) {
  x = max(x, splat(-87.3F));
  const Lanes n = round_to_integer(x * splat(1.44269504088896341F));
  Lanes r = multiply_add(n, splat(-0.693359375F), x);
  r = multiply_add(n, splat(2.12194440e-4F), r);
  Lanes p = splat(1.9875691500e-4F);
  p = multiply_add(p, r, splat(1.3981999507e-3F));
  p = multiply_add(p, r, splat(8.3334519073e-3F));
  p = multiply_add(p, r, splat(4.1665795894e-2F));
  p = multiply_add(p, r, splat(1.6666665459e-1F));
  p = multiply_add(p, r, splat(5.0000001201e-1F));
  p = multiply_add(p, r * r, r + splat(1.0F));
  return scale_by_power_of_two(p, n);
}

// x * (1 + erf(x / sqrt 2)) / 2, erf by Abramowitz and Stegun 7.1.26: absolute error below 1.5e-7.
inline Lanes exact_gelu(Lanes x) {
  const Lanes z = absolute(x) * splat(0.70710678118654752F);
  const Lanes t = splat(1.0F) / multiply_add(splat(0.3275911F), z, splat(1.0F));
  Lanes p = splat(1.061405429F);
  p = multiply_add(p, t, splat(-1.453152027F));
  p = multiply_add(p, t, splat(1.421413741F));
  p = multiply_add(p, t, splat(-0.284496736F));
  p = multiply_add(p, t, splat(0.254829592F));
  const Lanes tail = p * t * exponential(splat(0.0F) - z * z);  // 1 - erf(z)
  // For x > 0: x * (2 - tail) / 2; otherwise x * tail / 2.
  return splat(0.5F) * x * select_positive(x, splat(2.0F) - tail, tail);
}

// 1 / (1 + e^-x), relative error below 4e-7.
inline Lanes sigmoid(Lanes x) {
  const Lanes tail = exponential(splat(0.0F) - absolute(x));
  return select_positive(x, splat(1.0F), tail) / (splat(1.0F) + tail);
}

// x * (1 + tanh(z)) / 2 = x * sigmoid(2z), z = sqrt(2 / pi) * (x + 0.044715 x^3): the approximation of Hendrycks and
// Gimpel 2016.
inline Lanes tanh_gelu(Lanes x) {
  const Lanes cubic = multiply_add(x * x * splat(0.044715F), x, x);
  return x * sigmoid(cubic * splat(1.59576912160573071F));
}

// Elfwing et al. 2017.
inline Lanes silu(Lanes x) {
  return x * sigmoid(x);
}

}  // namespace
}  // namespace demask::kernels::cpu

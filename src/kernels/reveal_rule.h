// How many positions a step reveals, by how certain they are. Without LibTorch, so that nvcc reads it too.
#pragma once

namespace demask::kernels {

// With the certainties c(1) >= c(2) >= ... of the positions that were drawn:
enum class RevealKind {
  at_least,     // all with c >= bound
  factor,       // the largest n for which (n + 1) * (1 - c(n)) < bound
  entropy_sum,  // with entropies -c: the largest n for which the sum of all before the n-th is at most bound
};

struct RevealRule {
  RevealKind kind;
  double bound;
};

// What strategy `klass` adds to the certainty of a stable position, above every probability.
inline constexpr float stable_above = 2;
// Stands for minus infinity where a product with zero must stay zero; below it expf() is 0.
inline constexpr float lowest_log_probability = -1e4F;

}  // namespace demask::kernels

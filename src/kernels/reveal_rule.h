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

}  // namespace demask::kernels

// What speaks against a token that a text has too often.
#pragma once

namespace demask::kernels {

// Of a token that k of n visible tokens are, where e = n * p0 are expected, in nats:
//   by_count * max(0, log (1 + k) / (1 + e)) + by_deviation * max(0, (k - e) / sqrt(1 + e) - usual_deviation).
struct ExcessRule {
  double by_count = 0;
  double by_deviation = 0;
  double usual_deviation = 2;  // standard deviations of a count, that of rare events, by which it may be above e
};

}  // namespace demask::kernels

// How much colder a position is drawn where the model is sure of it.
#pragma once

namespace demask::kernels {

// Of a position of entropy H, where that of the whole text's tokens is H0, in a step at temperature T:
//   T * min(1, H / H0)^power, within [least, most].
struct EntropyRule {
  double power = 1;
  double least = 0;
  double most = 0;
};

}  // namespace demask::kernels

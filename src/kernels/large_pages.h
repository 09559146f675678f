// Memory in large pages where the system has them: reading gigabytes once a token through pages of 4 KiB takes twice as
// long, since each page's address has to be looked up.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

namespace demask::kernels::cpu {

class LargePages {
 public:
  // [bytes] of zeros, aligned to cache lines. The tensors of one LargePages share regions of memory; a region goes back
  // to the system with the last of its tensors. Throws std::bad_alloc.
  at::Tensor take(int64_t bytes);

 private:
  std::shared_ptr<char> region_;
  int64_t size_ = 0, taken_ = 0;
};

}  // namespace demask::kernels::cpu

#include "kernels/large_pages.h"

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "tests/support/catch.h"

using namespace demask::kernels::cpu;

TEST_CASE("Memory of large pages is zero, begins at cache lines, is apart, and outlives who handed it out") {
  std::vector<at::Tensor> taken;
  {
    LargePages pages;
    for (const int64_t bytes : {1, 100, 4096, 3 << 20, 70 << 20, 64}) {
      taken.push_back(pages.take(bytes));
    }
  }
  for (const at::Tensor& tensor : taken) {
    CHECK(reinterpret_cast<uintptr_t>(tensor.data_ptr()) % 64 == 0);
    CHECK_FALSE(tensor.any().item<bool>());
  }
  for (size_t i = 0; i < taken.size(); ++i) {
    taken[i].fill_(static_cast<int64_t>(i + 1));
  }
  for (size_t i = 0; i < taken.size(); ++i) {
    CHECK((taken[i] == static_cast<int64_t>(i + 1)).all().item<bool>());
  }
}

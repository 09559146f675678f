#include "model/device.h"

#include <ATen/ATen.h>

#include "tests/support/catch.h"
#include "tests/support/sanitized.h"

using namespace demask;
using demask::testing::sanitized;

TEST_CASE("The peak of memory is what the work had in use at once, whatever was there before and is gone after") {
  constexpr int64_t mib = int64_t{1} << 20;
  const at::Tensor before = at::ones({64 * mib}, at::kByte);
  for (const at::Device device : {at::Device(at::kCPU), at::Device(at::kCUDA, 0)}) {
    if (device.is_cuda() && cuda_device_count() == 0) {
      continue;
    }
    CAPTURE(device.str());
    const auto touch = [&](int64_t bytes) { return at::ones({bytes}, at::device(device).dtype(at::kByte)); };
    const int64_t peak = peak_memory_bytes(device, [&] {
      touch(100 * mib);  // gone before the next
      const at::Tensor first = touch(150 * mib), second = touch(150 * mib);
    });
    if (peak == 0) {
      WARN("this system does not let a process reset its peak of memory");
      continue;
    }
    CHECK(peak >= 270 * mib);  // of 300: a process of many threads gives a few back meanwhile
    CHECK((sanitized || peak < 400 * mib));
  }
  CHECK(before.numel() == 64 * mib);
}

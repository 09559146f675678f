#include "kernels/large_pages.h"

#include <ATen/ATen.h>
#include <sys/mman.h>

#include <algorithm>
#include <new>

namespace demask::kernels::cpu {
namespace {

constexpr int64_t line = 64, large_page = int64_t{2} << 20;
// Reserved at a time; what is not taken of it is never touched.
constexpr int64_t region_bytes = int64_t{64} << 20;

int64_t round_up(int64_t number, int64_t to) {
  return (number + to - 1) / to * to;
}

// Starts at a large page.
std::shared_ptr<char> reserve(int64_t bytes) {
  const auto all = static_cast<size_t>(bytes + large_page);
  void* const start = ::mmap(nullptr, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (start == MAP_FAILED) {
    throw std::bad_alloc();
  }
  const auto address = reinterpret_cast<uintptr_t>(start);
  char* const first =
      static_cast<char*>(start) + (large_page - static_cast<int64_t>(address % large_page)) % large_page;
#ifdef MADV_HUGEPAGE
  ::madvise(first, static_cast<size_t>(bytes), MADV_HUGEPAGE);  // where it fails, pages are small
#endif
  return {first, [=](char* /*first*/) { ::munmap(start, all); }};
}

}  // namespace

at::Tensor LargePages::take(int64_t bytes) {
  if (!region_ || bytes > size_ - taken_) {
    size_ = round_up(std::max(bytes, region_bytes), large_page);
    region_ = reserve(size_);
    taken_ = 0;
  }
  char* const first = region_.get() + taken_;
  taken_ += round_up(bytes, line);
  return at::from_blob(
      first, {bytes}, [region = region_](void* /*first*/) {}, at::kByte);
}

}  // namespace demask::kernels::cpu

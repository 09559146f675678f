// Clusters of blocks that write into each other's shared memory, from compute capability 9.0 on; elsewhere this is
// empty.
#pragma once

#include <cstdint>

#include "kernels/cuda_device.cuh"

namespace demask::kernels::cuda::launch {

// Copies 16 bytes from global into shared memory some time before this thread's wait_for_copies. Copies up to
// end_copies are a group, and all but the latest `later` groups are waited for.
inline __device__ void copy_later(const void* from, void* to) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to)), "l"(from) : "memory");
#endif
}
inline __device__ void end_copies() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int later>
__device__ void wait_for_copies() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(later) : "memory");
#endif
}

// Every block of the cluster comes to arrive_at_cluster before any leaves wait_for_cluster.
inline __device__ void arrive_at_cluster() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#endif
}
// The same where others need know nothing of what this block has written, which saves a fence of the device's memory.
inline __device__ void arrive_at_cluster_relaxed() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
#endif
}
inline __device__ void wait_for_cluster() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}

// Where in the cluster's shared memory `pointer` of this block's stands in block `rank`'s.
inline __device__ unsigned shared_address_in(const void* pointer, int rank) {
  unsigned there = 0;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(shared_address(pointer)), "r"(rank));
#endif
  return there;
}

// Where a block learns that all bytes meant for it have come, again and again: one thread says how many to expect,
// before or after they begin to come, and all wait.
struct Inbox {
  uint64_t barrier;

  __device__ void begin() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(&barrier)) : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
  }
  __device__ void expect(unsigned bytes) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(&barrier)), "r"(bytes)
                 : "memory");
#endif
  }

  // For the bytes of turn 0, 1, ...
  __device__ void wait(int turn) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    unsigned done = 0;
    while (done == 0) {
      asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                   : "=r"(done)
                   : "r"(shared_address(&barrier)), "r"(turn & 1)
                   : "memory");
    }
#endif
  }

  // Writes 16 bytes to where `target` stands in block `rank`'s shared memory, and tells its inbox.
  __device__ void send(int4 bits, const void* target, int rank) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    const unsigned at = shared_address_in(target, rank), its = shared_address_in(&barrier, rank);
    asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%1, %2, %3, %4}, [%5];" ::"r"(at),
                 "r"(bits.x), "r"(bits.y), "r"(bits.z), "r"(bits.w), "r"(its)
                 : "memory");
#endif
  }
  // Four bytes.
  __device__ void send(float value, const void* target, int rank) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    const unsigned at = shared_address_in(target, rank), its = shared_address_in(&barrier, rank);
    asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.b32 [%0], %1, [%2];" ::"r"(at),
                 "r"(__float_as_int(value)), "r"(its)
                 : "memory");
#endif
  }
  // Two values of eight bytes together.
  __device__ void send(float2 values, const void* target, int rank) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    const unsigned at = shared_address_in(target, rank), its = shared_address_in(&barrier, rank);
    asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [%0], {%1, %2}, [%3];" ::"r"(at),
                 "f"(values.x), "f"(values.y), "r"(its)
                 : "memory");
#endif
  }
};

}  // namespace demask::kernels::cuda::launch

// What the threads of a block share that finds the path of a text by spans of positions, and how they tell each other
// what is ready.
#pragma once

#include "kernels/cuda_device.cuh"
#include "kernels/pattern_spans.h"

namespace demask::kernels::cuda::launch {

inline constexpr int span_width = SpanWalk::width;  // of a position's messages: states, the rest of which have none
inline constexpr int passers = span_width, followers = 14;  // threads; warps
inline constexpr int span_threads = passers + followers * warp_size;
inline constexpr int passers_barrier = 1;

// Of several things each of which becomes ready once.
struct Ready {
  uint64_t* barriers;

  __device__ void begin(int number) const {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(barriers + number)) : "memory");
#else
    barriers[number] = 0;
#endif
  }
  // By the one of the calling threads that says so, and that has met those whose writes it speaks of.
  __device__ void tell(int number, bool says_so) const {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("{ .reg .pred p; setp.ne.u32 p, %1, 0; @p mbarrier.arrive.shared::cta.b64 _, [%0]; }" ::"r"(
                     shared_address(barriers + number)),
                 "r"(static_cast<unsigned>(says_so))
                 : "memory");
#else
    if (says_so) {
      __threadfence_block();
      *const_cast<volatile uint64_t*>(barriers + number) = 1;
    }
#endif
  }
  __device__ void wait(int number) const {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    unsigned done = 0;
    while (done == 0) {
      asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], 0; selp.u32 %0, 1, 0, p; }"
                   : "=r"(done)
                   : "r"(shared_address(barriers + number))
                   : "memory");
    }
#else
    while (*const_cast<const volatile uint64_t*>(barriers + number) == 0) {
    }
    __threadfence_block();
    __syncwarp();
#endif
  }
};

extern __shared__ __align__(16) unsigned char span_memory[];

// Where a block's shared memory has what, in bytes.
struct SpanRoom {
  int weights = 0, between = 0, products = 0, within = 0, ready = 0, of_state = 0, classes = 0, first_edge = 0,
      edges = 0, fixed = 0, uniforms = 0, offers = 0, plain = 0, walk = 0, bytes = 0;

  explicit SpanRoom(const PatternArguments& a) {
    const int64_t spans = a.spans_room;
    take<double>(weights, a.length * a.weights_room);
    take<double>(between, (spans + 1) * span_width);  // messages between spans, those after the text's last first
    take<double>(products, a.products_room + a.products_room / spans);  // read one span ahead
    take<double>(within, (followers + 1) * 2 * span_width);             // the last: of those that pass messages on
    take<uint64_t>(ready, spans + 1);
    take<int32_t>(of_state, 2 * span_width * most_ways);
    take<uint8_t>(classes, a.products_room / spans * PatternWays::longest_span);
    take<int32_t>(first_edge, span_width + 1);
    take<int32_t>(edges, int64_t{2} * span_width * a.weights_room);
    take<int32_t>(fixed, a.length);
    take<double>(uniforms, a.length);
    take<uint32_t>(offers, passers / warp_size);
    take<uint32_t>(plain, (spans + warp_size - 1) / warp_size);
    take<uint8_t>(walk, SpanWalk::bytes(a.length, spans));
  }

 private:
  template <typename T>
  void take(int& at, int64_t count) {
    at = bytes;
    bytes += static_cast<int>((count * static_cast<int64_t>(sizeof(T)) + 15) / 16 * 16);
  }
};

template <typename T>
__device__ T* shared_at(int at) {
  return reinterpret_cast<T*>(span_memory + at);
}

// One text's draw. The table's edges are read in shared memory.
struct SpanDraw {
  const PatternArguments& a;
  const SpanRoom& room;
  const PatternTable& table;
  PatternSpans spans;

  __device__ int64_t first_row() const { return blockIdx.x * a.length; }
  __device__ double* messages(int t) const { return a.messages + (first_row() + blockIdx.x + t) * a.states_room; }
  __device__ double* weights(int t) const { return shared_at<double>(room.weights) + t * a.weights_room; }
  __device__ double* between(int number) const { return shared_at<double>(room.between) + number * span_width; }
  __device__ double* products() const { return shared_at<double>(room.products); }
  __device__ Ready ready() const { return {shared_at<uint64_t>(room.ready)}; }
  __device__ int32_t* fixed() const { return shared_at<int32_t>(room.fixed); }
  __device__ double* uniforms() const { return shared_at<double>(room.uniforms); }
  __device__ uint32_t* plain() const { return shared_at<uint32_t>(room.plain); }
  __device__ SpanWalk walk() const { return {spans, shared_at<uint8_t>(room.walk)}; }
};

}  // namespace demask::kernels::cuda::launch

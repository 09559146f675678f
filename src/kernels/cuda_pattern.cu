// The joint draw of texts that match patterns: weights of all positions, messages of each text, every state's choice at
// every position, the path through these, and the tokens. Only messages go along the text: by spans of positions where
// cuda_pattern_spans.h has a way for that, which finds the path as well, or else position by position.
#include "kernels/cuda_device.cuh"
#include "kernels/cuda_early.cuh"
#include "kernels/cuda_pattern_late.cuh"
#include "kernels/cuda_pattern_messages.cuh"
#include "kernels/cuda_pattern_pick.cuh"
#include "kernels/cuda_pattern_spans.h"
#include "kernels/cuda_pattern_team.cuh"
#include "kernels/pattern_draw.h"
#include "kernels/pattern_sums.h"

namespace demask::kernels::cuda::launch {
namespace {

// Begins a kernel. Each of them waits for those before it, and whatever its block is for: the next one's launch is over
// by the time that it ends.
__device__ void begin_early() {
  let_next_begin();
  wait_for_kernels_before();
}

// Weights of the rows, a warp each or a block each.
template <typename T, bool wide>
__global__ void __launch_bounds__(wide ? wide_threads : small_threads) weigh_kernel(PatternArguments a) {
  begin_early();
  __shared__ BlockRoom room;
  const int64_t row = wide ? static_cast<int64_t>(blockIdx.x) : row_of_warp(small_rows);
  PatternTable table;
  if (row >= a.batch * a.length || !find_table(a, row / a.length, table)) {
    return;
  }
  const auto weigh = [&](auto team) {
    if (is_greedy(a)) {
      weigh_position<PatternNumbers::likeliest>(a, table, Reader<T>{a}, row, PatternSource::filtered, team);
    } else {
      weigh_position<PatternNumbers::scaled>(a, table, Reader<T>{a}, row, PatternSource::filtered, team);
    }
  };
  if constexpr (wide) {
    weigh(Block{room});
  } else {
    weigh(Warp{});
  }
}

// Weights of the rows of few outputs, a warp each. The table is read while the kernels before still work: none of them
// writes it.
template <typename T, int chunks>
__global__ void __launch_bounds__(small_threads) weigh_summed_kernel(PatternArguments a) {
  let_next_begin();
  __shared__ float stage[small_rows][chunks * warp_size];
  const int64_t row = row_of_warp(small_rows);
  PatternTable table;
  if (row >= a.batch * a.length || !find_table(a, text_of(a, row), table)) {
    wait_for_kernels_before();
    return;
  }
  Warp warp;
  const SummedWeights<chunks> own(table, warp.rank(), warp_size);
  wait_for_kernels_before();
  if (!weigh_settled<PatternNumbers::scaled>(a, table, row, warp)) {
    own.weigh(a, table, Reader<T>{a}, row, stage[threadIdx.x / warp_size], warp);
  }
}

// How the messages kernel uses shared memory.
struct MessageRoom {
  int stretch = 0;        // positions whose weights are staged; 0: they are read where they are
  bool buffered = false;  // whether messages of two positions are held, and what each position is

  DEMASK_EVERYWHERE int64_t buffers_at(const PatternArguments& a) const {
    return 2 * static_cast<int64_t>(stretch) * a.weights_room;
  }
  DEMASK_EVERYWHERE int64_t fixed_at(const PatternArguments& a) const {
    return buffers_at(a) + (buffered ? 2 * a.states_room : 0);
  }
  int64_t bytes(const PatternArguments& a) const {
    return fixed_at(a) * static_cast<int64_t>(sizeof(double)) +
           (buffered ? a.length * static_cast<int64_t>(sizeof(int32_t)) : 0);
  }
};

template <typename Team>
__device__ const int32_t* stage_fixed(const PatternArguments& a, int64_t b, int32_t* staged, const Team& team) {
  const int32_t* fixed = a.fixed + b * a.length;
  for (int64_t t = team.rank(); t < a.length; t += team.size()) {
    staged[t] = fixed[t];
  }
  return staged;
}

// Whose reads do not wait for each other.
template <typename Team>
__device__ bool weights_hold(const PatternArguments& a, int64_t b, const Team& team) {
  bool hold = true;
  for (int64_t t = team.rank(); t < a.length; t += team.size()) {
    hold = static_cast<bool>(hold & a.holds[b * a.length + t]);
  }
  return hold;
}

__device__ void settle(const PatternArguments& a, int64_t b, bool holds) {
  if (threadIdx.x == 0) {
    const bool greedy = is_greedy(a);
    const bool possible = a.messages[b * (a.length + 1) * a.states_room] > (greedy ? -HUGE_VAL : 0.0);
    a.source[b] = PatternSource::filtered;
    a.numbers[b] = !possible || !holds ? PatternNumbers::undecided
                   : greedy            ? PatternNumbers::likeliest
                                       : PatternNumbers::scaled;
  }
}

__global__ void __launch_bounds__(1024) messages_kernel(PatternArguments a, MessageRoom use) {
  begin_early();
  extern __shared__ __align__(16) double shared[];
  __shared__ BlockRoom room;
  const int64_t b = blockIdx.x;
  PatternTable table;
  if (!find_table(a, b, table)) {
    return;
  }
  Block block{room};
  double* buffers = use.buffered ? shared + use.buffers_at(a) : nullptr;
  const int32_t* fixed = use.buffered ? stage_fixed(a, b, reinterpret_cast<int32_t*>(shared + use.fixed_at(a)), block)
                                      : a.fixed + b * a.length;
  block.sync();
  const bool greedy = is_greedy(a);
  bool holds = greedy || weights_hold(a, b, block);
  const double* weights = a.weights + b * a.length * a.weights_room;
  const auto send = [&](auto rows) {
    return greedy ? send_messages<PatternNumbers::likeliest>(a, table, b, rows, buffers, block)
                  : send_messages<PatternNumbers::scaled>(a, table, b, rows, buffers, block);
  };
  if (use.stretch > 0) {
    StagedRows rows{weights, fixed, shared, a.weights_room, use.stretch, static_cast<int>(a.length)};
    rows.fetch();
    holds = send(rows) && holds;
  } else {
    holds = send(DirectRows{weights, fixed, a.weights_room}) && holds;
  }
  settle(a, b, block.all(holds));
}

// Of few states: one warp passes the messages on, and others bring it weights and take messages away.
template <int each>
__global__ void __launch_bounds__(few_messages_threads) few_messages_kernel(PatternArguments a) {
  begin_early();
  extern __shared__ __align__(16) double shared[];
  const int64_t b = blockIdx.x;
  PatternTable table;
  if (!find_table(a, b, table)) {
    return;
  }
  const CarriedMessages carried(a, table, b, each * warp_size, shared);
  bool holds = true;
  if (threadIdx.x < warp_size) {
    pass_few<each>(carried);
  } else {
    holds = carried.carry();
  }
  holds = __syncthreads_and(static_cast<int>(holds)) != 0;
  settle(a, b, holds);
}

// The texts whose range scaled messages do not hold, or to which filters leave no completion.
template <typename T>
__global__ void __launch_bounds__(wide_threads) decide_kernel(PatternArguments a) {
  begin_early();
  __shared__ BlockRoom room;
  PatternTable table;
  if (find_table(a, blockIdx.x, table) && a.numbers[blockIdx.x] == PatternNumbers::undecided) {
    Block block{room};
    decide(a, table, blockIdx.x, Reader<T>{a}, block);
  }
}

template <typename T>
__global__ void __launch_bounds__(small_threads) choose_kernel(PatternArguments a) {
  begin_early();
  const int64_t row = blockIdx.x;
  PatternTable table;
  if (!find_table(a, row / a.length, table)) {
    return;
  }
  for (int state = static_cast<int>(threadIdx.x); state < table.states; state += static_cast<int>(blockDim.x)) {
    choose(a, table, row, state, Reader<T>{a});
  }
}

__global__ void __launch_bounds__(1024) walk_kernel(PatternArguments a, bool has_room) {
  begin_early();
  extern __shared__ __align__(16) uint8_t steps[];
  __shared__ BlockRoom room;
  PatternTable table;
  if (find_table(a, blockIdx.x, table)) {
    Block block{room};
    walk(a, table, blockIdx.x, has_room ? steps : nullptr, block);
  }
}

template <typename T>
__global__ void __launch_bounds__(small_threads) pick_kernel(PatternArguments a) {
  begin_early();
  const int64_t row = row_of_warp(small_rows);
  PatternTable table;
  if (row < a.batch * a.length && find_table(a, text_of(a, row), table)) {
    Warp warp;
    pick_token(a, table, Reader<T>{a}, row, warp);
  }
}

int most_shared_bytes() {
  int device = 0, most = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  return most - static_cast<int>(sizeof(BlockRoom)) - 1024;  // 1024: the system's own
}

unsigned threads_for(int64_t states, int most) {
  const int64_t whole = (states + warp_size - 1) / warp_size * warp_size;
  return static_cast<unsigned>(whole < most ? whole : most);
}

MessageRoom message_room(const PatternArguments& a, int64_t most_bytes) {
  constexpr int longest_stretch = 32;
  constexpr int64_t staged_bytes = 64 * 1024;
  const int64_t row_bytes = 2 * a.weights_room * static_cast<int64_t>(sizeof(double));
  MessageRoom use;
  use.stretch =
      static_cast<int>(staged_bytes / row_bytes < longest_stretch ? staged_bytes / row_bytes : longest_stretch);
  use.buffered = true;
  use.buffered = use.bytes(a) <= most_bytes;
  return use;
}

void launch_messages(const PatternArguments& a, int most_bytes, cudaStream_t stream) {
  const auto texts = static_cast<unsigned>(a.batch);
  if (const int64_t bytes = CarriedMessages::bytes(a); !is_greedy(a) && has_few_messages(a) && bytes <= most_bytes) {
    const auto kernel = a.states_room <= warp_size ? few_messages_kernel<1> : few_messages_kernel<2>;
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
    launch_early(kernel, dim3(texts), few_messages_threads, static_cast<size_t>(bytes), stream, a);
    return;
  }
  const MessageRoom use = message_room(a, most_bytes);
  const int64_t bytes = use.bytes(a);
  cudaFuncSetAttribute(messages_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  launch_early(messages_kernel, dim3(texts), threads_for(a.states_room, 1024), static_cast<size_t>(bytes), stream, a,
               use);
}

template <typename T>
void launch_summed_weights(const PatternArguments& a, cudaStream_t stream) {
  const auto launch = [&](auto kernel) {
    launch_early(kernel, dim3(blocks_for(a.batch * a.length, small_rows)), small_threads, 0, stream, a);
  };
  switch ((a.outputs + warp_size - 1) / warp_size) {
    case 1:
      return launch(weigh_summed_kernel<T, 1>);
    case 2:
      return launch(weigh_summed_kernel<T, 2>);
    case 3:
      return launch(weigh_summed_kernel<T, 3>);
    default:
      return launch(weigh_summed_kernel<T, 4>);
  }
}

template <typename T>
void launch_weights(const PatternArguments& a, cudaStream_t stream) {
  constexpr int64_t warp_outputs = 1024;  // of a row that is one warp's
  const int64_t rows = a.batch * a.length;
  if (!is_greedy(a) && a.sums != nullptr) {
    launch_summed_weights<T>(a, stream);
  } else if (a.outputs <= warp_outputs) {
    launch_early(weigh_kernel<T, false>, dim3(blocks_for(rows, small_rows)), small_threads, 0, stream, a);
  } else {
    launch_early(weigh_kernel<T, true>, dim3(static_cast<unsigned>(rows)), wide_threads, 0, stream, a);
  }
}

// Position by position.
template <typename T>
void launch_path(const PatternArguments& a, int most_bytes, cudaStream_t stream) {
  const auto texts = static_cast<unsigned>(a.batch);
  launch_messages(a, most_bytes, stream);
  launch_early(decide_kernel<T>, dim3(texts), wide_threads, 0, stream, a);
  launch_early(choose_kernel<T>, dim3(static_cast<unsigned>(a.batch * a.length)),
               threads_for(a.states_room, small_threads), 0, stream, a);
  const int64_t room = walk_room(a.length, a.states_room);
  const bool has_room = a.states_room <= 256 && room <= most_bytes;
  if (has_room) {
    cudaFuncSetAttribute(walk_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(room));
  }
  launch_early(walk_kernel, dim3(texts), has_room ? 1024 : warp_size, has_room ? static_cast<size_t>(room) : 0, stream,
               a, has_room);
}

template <typename T>
void launch_draw(Precision precision, const PatternArguments& a, cudaStream_t stream) {
  const int most_bytes = most_shared_bytes();
  launch_weights<T>(a, stream);
  if (!is_greedy(a) && goes_by_spans(a, most_bytes)) {
    launch_spans(precision, a, stream);
  } else {
    launch_path<T>(a, most_bytes, stream);
  }
  const int64_t rows = a.batch * a.length;
  if (!is_greedy(a) && a.sums != nullptr) {
    launch_early(pick_summed_kernel<T>, dim3(blocks_for(rows, summed_threads)), summed_threads, 0, stream, a);
  } else {
    launch_early(pick_kernel<T>, dim3(blocks_for(rows, small_rows)), small_threads, 0, stream, a);
  }
}

}  // namespace

void draw_matching(Precision precision, const PatternArguments& arguments, cudaStream_t stream) {
  with_type(precision, [&](auto type) { launch_draw<decltype(type)>(precision, arguments, stream); });
}

}  // namespace demask::kernels::cuda::launch

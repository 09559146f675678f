// The joint draw of texts that match patterns: weights of all positions, messages of each text, then every state's
// choice at every position, the path through these, and the tokens. Only messages go position by position, and those of
// few states from stretch to stretch where the pattern's matrices have few entries.
#include <algorithm>

#include "kernels/cuda_device.cuh"
#include "kernels/cuda_early.cuh"
#include "kernels/cuda_pattern_messages.cuh"
#include "kernels/cuda_pattern_stretches.cuh"
#include "kernels/cuda_pattern_team.cuh"
#include "kernels/pattern_draw.h"

namespace demask::kernels::cuda::launch {
namespace {

// Weights of the rows, a warp each or a block each.
template <typename T, bool wide>
__global__ void __launch_bounds__(wide ? wide_threads : small_threads) weigh_kernel(PatternArguments a) {
  __shared__ BlockRoom room;
  const int64_t row = wide ? static_cast<int64_t>(blockIdx.x) : row_of_warp(small_rows);
  PatternTable table;
  if (!begin(a, text_of(a, row), table)) {
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

// The matrices of all stretches.
__global__ void __launch_bounds__(matrix_threads) matrices_kernel(PatternArguments a) {
  make_matrices(a, a.length / stretch_positions,
                [](const PatternTable& /*table*/, int64_t /*b*/, int64_t /*stretch*/, const Block& /*block*/) {});
}

// And before them weights of the rows, a warp each.
template <typename T>
__global__ void __launch_bounds__(matrix_threads) weigh_stretches_kernel(PatternArguments a) {
  make_matrices(
      a, stretches_of(a.length), [&](const PatternTable& table, int64_t b, int64_t stretch, const Block& block) {
        Warp warp;
        for (int t = block.warp_rank(); t < stretch_size(a, stretch); t += block.warps()) {
          weigh_position<PatternNumbers::scaled>(a, table, Reader<T>{a}, b * a.length + stretch * stretch_positions + t,
                                                 PatternSource::filtered, warp);
        }
      });
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
  extern __shared__ __align__(16) double shared[];
  __shared__ BlockRoom room;
  const int64_t b = blockIdx.x;
  PatternTable table;
  if (!begin(a, b, table) || (table.plan != nullptr && is_stretched(a, table, is_greedy(a)))) {
    return;
  }
  Block block{room};
  double* buffers = use.buffered ? shared + use.buffers_at(a) : nullptr;
  const int32_t* fixed = use.buffered ? stage_fixed(a, b, reinterpret_cast<int32_t*>(shared + use.fixed_at(a)), block)
                                      : a.fixed + b * a.length;
  block.sync();
  const bool greedy = is_greedy(a);
  bool holds = greedy || weights_hold(a, b, block.rank(), block.size());
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

// Of few states, without a plan: one warp passes the messages on, and others bring it weights and take messages away.
template <int each>
__device__ void carry_messages(const PatternArguments& a, const PatternTable& table, int64_t b, double* shared) {
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

// Of few states: of texts with a plan where stretches begin, and all of the others where all texts have few.
template <int each>
__global__ void __launch_bounds__(few_messages_threads) few_messages_kernel(PatternArguments a, bool all_have_few) {
  let_next_begin();
  extern __shared__ __align__(16) double shared[];
  __shared__ BlockRoom room;
  const int64_t b = blockIdx.x;
  PatternTable table;
  const bool found = find_table(a, b, table);
  if (found && table.plan != nullptr) {
    Block block{room};
    settle(a, b, block.all(chain_stretches(a, table, b, shared, block)));
    return;
  }
  wait_for_kernels_before();
  if (found && all_have_few) {
    carry_messages<each>(a, table, b, shared);
  }
}

// Messages of each stretch, of texts with a plan, and the ways through it.
__global__ void __launch_bounds__(wide_stretch_threads) stretches_kernel(PatternArguments a) {
  let_next_begin();
  __shared__ StretchRoom room;
  __shared__ BlockRoom team_room;
  const auto stretches = static_cast<unsigned>(stretches_of(a.length));
  const int64_t b = blockIdx.x / stretches, stretch = blockIdx.x % stretches;
  PatternTable table;
  const bool stretched = find_table(a, b, table) && is_stretched(a, table, /*greedy=*/false);
  if (stretched) {
    stage_edges(table, room);
  }
  wait_for_kernels_before();
  if (!stretched) {
    return;
  }
  Block block{team_room};
  if (table.plan != nullptr) {
    fill_and_choose(a, table, b, stretch, room, block);
  } else {
    block.sync();
    const auto choose = [&](int64_t t, int32_t state) {
      const int64_t row = b * a.length + t;
      return a.fixed[row] == unshown_position
                 ? state
                 : choose_by_chance<PatternNumbers::scaled>(table, state, a.weights + row * a.weights_room,
                                                            messages_at(a, b, t + 1), a.uniforms[row])
                       .next;
    };
    choose_steps(a, table, stretch, choose, room.steps, block);
  }
  block.sync();
  compose_steps(a, table, b, stretch, room.steps, block);
}

// All of one text's weights and messages; whether a completion is possible.
template <typename T, PatternNumbers numbers>
__device__ bool decide_by(const PatternArguments& a, const PatternTable& table, int64_t b, PatternSource source,
                          Block& block) {
  Warp warp;
  for (int64_t t = block.warp_rank(); t < a.length; t += block.warps()) {
    weigh_position<numbers>(a, table, Reader<T>{a}, b * a.length + t, source, warp);
  }
  block.sync();
  DirectRows rows{a.weights + b * a.length * a.weights_room, a.fixed + b * a.length, a.weights_room};
  send_messages<numbers>(a, table, b, rows, nullptr, block);
  const bool possible = a.messages[b * (a.length + 1) * a.states_room] > -HUGE_VAL;
  if (possible && block.rank() == 0) {
    a.numbers[b] = numbers;
    a.source[b] = source;
  }
  block.sync();
  return possible;
}

// Of a text whose range scaled messages do not hold, or to which filters leave no completion.
template <typename T>
__device__ void decide_late(const PatternArguments& a, const PatternTable& table, int64_t b, Block& block) {
  if (is_greedy(a)) {
    decide_by<T, PatternNumbers::likeliest>(a, table, b, PatternSource::unfiltered, block);
  } else if (!decide_by<T, PatternNumbers::logarithms>(a, table, b, PatternSource::filtered, block)) {
    decide_by<T, PatternNumbers::logarithms>(a, table, b, PatternSource::unfiltered, block);
  }
}

// The ways through all stretches of a text; steps: so many bytes of each warp.
template <typename T>
__device__ void choose_all(const PatternArguments& a, const PatternTable& table, int64_t b, uint8_t* steps,
                           const Block& block) {
  Warp warp;
  const auto choose = [&](int64_t t, int32_t state) { return choose_next(a, table, Reader<T>{a}, b, t, state).next; };
  for (int64_t stretch = block.warp_rank(); stretch < stretches_of(a.length); stretch += block.warps()) {
    choose_steps(a, table, stretch, choose, steps, warp);
    warp.sync();
    compose_steps(a, table, b, stretch, steps, warp);
    warp.sync();
  }
}

// Decides what is not decided yet, and where the stretches of a text begin.
template <typename T>
__global__ void __launch_bounds__(wide_threads) decide_kernel(PatternArguments a) {
  constexpr int steps_bytes = stretch_positions * transfer_width;  // of a warp
  __shared__ uint8_t steps[wide_warps * steps_bytes];
  __shared__ BlockRoom room;
  const int64_t b = blockIdx.x;
  PatternTable table;
  if (!begin(a, b, table)) {
    return;
  }
  Block block{room};
  const bool stretched = is_stretched(a, table, is_greedy(a));
  if (a.numbers[b] == PatternNumbers::undecided) {
    block.sync();  // which all have seen
    decide_late<T>(a, table, b, block);
    if (stretched) {
      choose_all<T>(a, table, b, steps + block.warp_rank() * steps_bytes, block);
    }
    block.sync();
  }
  if (stretched) {
    walk_stretches_of(a, b, steps, sizeof(steps), block);
  }
}

template <typename T>
__global__ void __launch_bounds__(small_threads) choose_kernel(PatternArguments a) {
  const int64_t row = blockIdx.x, b = text_of(a, row);
  PatternTable table;
  if (!begin(a, b, table) || is_stretched(a, table, is_greedy(a))) {
    return;
  }
  for (int state = static_cast<int>(threadIdx.x); state < table.states; state += static_cast<int>(blockDim.x)) {
    const PatternChoice choice = choose_next(a, table, Reader<T>{a}, b, position_of(a, row), state);
    a.next[row * a.states_room + state] = choice.next < 0 ? 0 : choice.next;
  }
}

__global__ void __launch_bounds__(1024) walk_kernel(PatternArguments a, bool has_room) {
  extern __shared__ __align__(16) uint8_t steps[];
  __shared__ BlockRoom room;
  PatternTable table;
  if (begin(a, blockIdx.x, table) && !is_stretched(a, table, is_greedy(a))) {
    Block block{room};
    walk(a, table, blockIdx.x, has_room ? steps : nullptr, block);
  }
}

template <typename T>
__global__ void __launch_bounds__(small_threads) pick_kernel(PatternArguments a) {
  const int64_t row = row_of_warp(small_rows);
  PatternTable table;
  if (begin(a, text_of(a, row), table)) {
    Warp warp;
    pick_token(a, table, Reader<T>{a}, row, state_before(a, is_stretched(a, table, is_greedy(a)), row), warp);
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

template <typename... Parameters>
void launch_with_room(void (*kernel)(Parameters...), int64_t blocks, unsigned threads, int64_t bytes,
                      cudaStream_t stream, Parameters... arguments) {
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  launch_early(kernel, dim3(static_cast<unsigned>(blocks)), threads, static_cast<size_t>(bytes), stream, arguments...);
}

bool is_planned(const PatternArguments& a) {
  return a.transfer != nullptr && !is_greedy(a);
}

// Weights, and matrices with them where there are enough multiprocessors for all stretches at once.
template <typename T>
void launch_weights(const PatternArguments& a, cudaStream_t stream) {
  constexpr int64_t warp_outputs = 1024;  // of a row that is one warp's
  constexpr auto room = static_cast<int64_t>(sizeof(MatrixRoom));
  const int64_t rows = a.batch * a.length, whole = a.batch * (a.length / stretch_positions),
                stretches = a.batch * stretches_of(a.length), blocks = 2 * multiprocessors();
  if (is_planned(a) && a.outputs <= warp_outputs && stretches <= blocks) {
    launch_with_room(weigh_stretches_kernel<T>, stretches, matrix_threads, room, stream, a);
    return;
  }
  if (a.outputs <= warp_outputs) {
    launch_early(weigh_kernel<T, false>, dim3(blocks_for(rows, small_rows)), small_threads, 0, stream, a);
  } else {
    launch_early(weigh_kernel<T, true>, dim3(static_cast<unsigned>(rows)), wide_threads, 0, stream, a);
  }
  if (is_planned(a) && whole > 0) {
    launch_with_room(matrices_kernel, std::min(whole, blocks), matrix_threads, room, stream, a);
  }
}

void launch_messages(const PatternArguments& a, int most_bytes, cudaStream_t stream) {
  const int64_t carried_bytes = has_few_messages(a) ? CarriedMessages::bytes(a) : 0;
  const bool planned = is_planned(a);
  const bool all_have_few = has_few_messages(a);
  if (planned) {
    launch_with_room(a.states_room <= warp_size ? few_messages_kernel<1> : few_messages_kernel<2>, a.batch,
                     few_messages_threads, carried_bytes > chain_bytes ? carried_bytes : chain_bytes, stream, a,
                     all_have_few);
  }
  if (!planned || !all_have_few) {
    const MessageRoom use = message_room(a, most_bytes);
    launch_with_room(messages_kernel, a.batch, threads_for(a.states_room, 1024), use.bytes(a), stream, a, use);
  }
  if (planned) {
    const int64_t stretches = a.batch * stretches_of(a.length);
    launch_early(stretches_kernel, dim3(static_cast<unsigned>(stretches)),
                 stretches <= 2 * multiprocessors() ? wide_stretch_threads : stretch_threads, 0, stream, a);
  }
}

// The path of texts that are not drawn by stretches.
template <typename T>
void launch_walk(const PatternArguments& a, int most_bytes, cudaStream_t stream) {
  launch_early(choose_kernel<T>, dim3(static_cast<unsigned>(a.batch * a.length)),
               threads_for(a.states_room, small_threads), 0, stream, a);
  const int64_t room = walk_room(a.length, a.states_room);
  const bool has_room = a.states_room <= 256 && room <= most_bytes;
  launch_with_room(walk_kernel, a.batch, has_room ? 1024 : warp_size, has_room ? room : 0, stream, a, has_room);
}

template <typename T>
void launch_draw(PatternArguments a, cudaStream_t stream) {
  const int64_t rows = a.batch * a.length;
  const int most_bytes = most_shared_bytes();
  if (most_bytes < chain_bytes) {  // on devices before compute capability 8.0
    a.transfer = nullptr;
  }
  launch_weights<T>(a, stream);
  launch_messages(a, most_bytes, stream);
  launch_early(decide_kernel<T>, dim3(static_cast<unsigned>(a.batch)), wide_threads, 0, stream, a);
  if (!is_planned(a) || !has_few_messages(a)) {
    launch_walk<T>(a, most_bytes, stream);
  }
  launch_early(pick_kernel<T>, dim3(blocks_for(rows, small_rows)), small_threads, 0, stream, a);
}

}  // namespace

void draw_matching(Precision precision, const PatternArguments& arguments, cudaStream_t stream) {
  with_type(precision, [&](auto type) { launch_draw<decltype(type)>(arguments, stream); });
}

}  // namespace demask::kernels::cuda::launch

// The products of cuda_rows_tensor.cu for up to eight rows, with the same sums. What a block needs of the matrix waits
// in shared memory, where each thread keeps its own part: so a thread takes few registers, blocks of several kernels
// share a multiprocessor, and each kernel's part of the matrix is there before the rows are.
#include "kernels/cuda_activation.cuh"
#include "kernels/cuda_cluster.cuh"
#include "kernels/cuda_early.cuh"
#include "kernels/cuda_rows_few.cuh"
#include "kernels/cuda_rows_tensor.cuh"

namespace demask::kernels::cuda::launch {
namespace {

constexpr int few_rows = tile_rows / 2;
constexpr int few_results = few_rows * tile_outputs;  // of a tile
constexpr int blocks_ahead = 6;                       // of 32 values of x, on their way to a warp
constexpr int most_stages = 2;                        // tiles of the matrix on their way to a team
constexpr int64_t most_few_inner = 4096;              // beyond which a tile takes too much memory

// How rows are normed, if at all: held in registers, as so many chunks a lane, or in shared memory.
enum FewNorm { no_norm = -1, norm_in_shared = 0, norm_of_three = 3, norm_of_four = 4 };

// How a block is made of teams, each of as many warps as share a row of the matrix, and its shared memory: tiles of the
// matrix, sums of warps, and where rows are normed those and the norm.
struct FewPlan {
  int warps, teams, blocks_each;  // blocks_each: of 32 values, that a warp takes of a tile
  int partial_at, rows_at, row_stride, bytes;

  FewPlan(const RowProductArguments& a, int stages, int teams_)
      : warps(warps_for(a.inner)),
        teams(teams_),
        blocks_each(static_cast<int>(((a.inner + values_a_block - 1) / values_a_block + warps - 1) / warps)),
        partial_at(stages * blocks_each * threads() * static_cast<int>(sizeof(Bits))),
        rows_at(partial_at + 2 * teams * warps * few_results * static_cast<int>(sizeof(float))),
        row_stride(static_cast<int>(launch::row_stride(a.inner))),
        bytes(rows_at + (a.norm_weight == nullptr ? 0
                                                  : static_cast<int>((a.rows * row_stride + 2 * a.inner) *
                                                                     static_cast<int64_t>(sizeof(__half))))) {}
  int threads() const { return teams * warps * warp_size; }
};

// A thread's part of the tiles that are on their way: 16 bytes of each block of 32 values that is its warp's.
struct HeldTiles {
  Bits* slots;  // the thread's first, a warp's lanes apart
  int inner, warps, warp, lane, blocks, blocks_each;

  // `warp`: of its team.
  __device__ HeldTiles(const RowProductArguments& a, const FewPlan& plan, int stages, unsigned char* room, int warp_)
      : inner(static_cast<int>(a.inner)),
        warps(plan.warps),
        warp(warp_),
        lane(static_cast<int>(threadIdx.x) % warp_size),
        blocks(((inner + values_a_block - 1) / values_a_block - warp + warps - 1) / warps),
        blocks_each(plan.blocks_each) {
    const int before = static_cast<int>(threadIdx.x) / warp_size * stages * blocks_each;  // of other warps
    slots = reinterpret_cast<Bits*>(room) + before * warp_size + lane;
  }

  __device__ int column(int block) const { return (warp + block * warps) * values_a_block + lane % 4 * 8; }
  __device__ Bits* slot(int stage, int block) const { return slots + (stage * blocks_each + block) * warp_size; }

  // Asks for the tile of the outputs from `first` on: 8 outputs, or the gates of 4 and then their ups.
  template <typename T>
  __device__ void ask(const RowProductArguments& a, int first, int stage) const {
    const int row = lane / 4, each = a.gated ? tile_outputs / 2 : tile_outputs;
    const int64_t output = min(first + row % each, static_cast<int>(a.outputs) - 1);
    const T* source = static_cast<const T*>(a.weight) + (output + (row < each ? 0 : a.outputs)) * a.inner;
#pragma unroll 1
    for (int block = 0; block < blocks; ++block) {
      Bits* const to = slot(stage, block);
      if (column(block) < inner) {
        copy_later(source + column(block), to);
      } else {
        *to = Bits{};
      }
    }
  }

  // Adds what a block of x and one of the matrix give.
  template <typename T>
  static __device__ void add_block(float (&sums)[tile_values], const Bits& x, const Bits& part) {
    multiply_add<T>(sums, x.x, 0, x.y, 0, part.x, part.y);
    multiply_add<T>(sums, x.z, 0, x.w, 0, part.z, part.w);
  }

  // A warp's sums of a tile: those of its blocks in their order. x: this lane's row, of which it has values before
  // `end`. `groups` of copies that were begun later need not have ended.
  template <typename T, int groups>
  __device__ void multiply(const T* x, int end, int stage, float (&sums)[tile_values]) const {
    const Bits* const parts = slot(stage, 0);
    Bits own[blocks_ahead]{};
    if (inner == blocks_ahead * warps * values_a_block) {  // so that nothing is asked of each block
      if (end > 0) {
        const T* from = x + column(0);
#pragma unroll
        for (int k = 0; k < blocks_ahead; ++k, from += warps * values_a_block) {
          own[k] = *reinterpret_cast<const Bits*>(from);
        }
      }
      wait_for_copies<groups>();
#pragma unroll
      for (int k = 0; k < blocks_ahead; ++k) {
        add_block<T>(sums, own[k], parts[k * warp_size]);
      }
      return;
    }
#pragma unroll 1
    for (int start = 0; start < blocks; start += blocks_ahead) {
#pragma unroll
      for (int k = 0; k < blocks_ahead; ++k) {
        const int at = column(start + k);
        own[k] = at < end ? *reinterpret_cast<const Bits*>(x + at) : Bits{};
      }
      wait_for_copies<groups>();
#pragma unroll
      for (int k = 0; k < blocks_ahead; ++k) {
        if (start + k < blocks) {
          add_block<T>(sums, own[k], parts[(start + k) * warp_size]);
        }
      }
    }
  }
};

// Where a thread's result stands in a tile's, and what it becomes once its sum is known.
template <typename T>
struct FewResult {
  float bias = 0, up_bias = 0, before = 0;
  int at = -1;  // in the output; less than 0: there is no such result

  // Before the kernels ahead have ended.
  __device__ FewResult(const RowProductArguments& a, int first_output, int thread) {
    const int each = a.gated ? tile_outputs / 2 : tile_outputs;
    const int row = thread % warp_size / 4, column = thread % 4 * 2 + thread / warp_size;
    const int output = first_output + column, outputs = static_cast<int>(a.outputs);
    if (thread >= few_results || row >= a.rows || column >= each || output >= outputs) {
      return;
    }
    at = row * outputs + output;
    if (a.bias != nullptr) {
      const T* biases = static_cast<const T*>(a.bias) + output;
      bias = to_float(biases[0]);
      up_bias = a.gated ? to_float(biases[outputs]) : 0.0F;
    }
  }
  __device__ void read_before(const RowProductArguments& a) {
    before = a.adds && at >= 0 ? to_float(static_cast<const T*>(a.out)[at]) : 0.0F;
  }

  // By the sums of all warps, [warps, few_results].
  __device__ T value(const RowProductArguments& a, const float* sent, int warps, int thread) const {
    float own = 0, up = 0;
#pragma unroll 4
    for (int w = 0; w < warps; ++w) {
      own += sent[w * few_results + thread];
    }
    if (a.gated) {
#pragma unroll 4
      for (int w = 0; w < warps; ++w) {
        up += sent[w * few_results + thread + 2];
      }
    }
    own += bias;
    own = a.activates ? activate(a.activation, own) : own;
    own = a.gated ? own * (up + up_bias) : own;
    return from_float<T>(own + before);
  }
};

// Normed rows in shared memory, plan.row_stride apart, and behind them the norm, which is asked for first of all.
template <typename T, FewNorm form>
struct FewRows {
  T *rows, *weight, *bias;  // bias: zeros where there is none

  __device__ FewRows(const RowProductArguments& a, const FewPlan& plan, unsigned char* room)
      : rows(reinterpret_cast<T*>(room + plan.rows_at)),
        weight(rows + a.rows * plan.row_stride),
        bias(weight + a.inner) {
#pragma unroll 1
    for (int at = static_cast<int>(threadIdx.x) * Chunk<T>::size; at < a.inner;
         at += static_cast<int>(blockDim.x) * Chunk<T>::size) {
      copy_later(static_cast<const T*>(a.norm_weight) + at, weight + at);
      if (a.norm_bias != nullptr) {
        copy_later(static_cast<const T*>(a.norm_bias) + at, bias + at);
      } else {
        store(bias + at, Chunk<T>{});
      }
    }
    end_copies();
  }

  // `later` groups of copies were begun after the norm's.
  template <int later>
  __device__ void wait_for_norm() const {
    wait_for_copies<later>();
    __syncthreads();
  }

  __device__ void take(const RowProductArguments& a, const FewPlan& plan, const T* source, int count) const {
    const int lane = static_cast<int>(threadIdx.x) % warp_size, inner = static_cast<int>(a.inner);
#pragma unroll 1
    for (int row = static_cast<int>(threadIdx.x) / warp_size; row < count; row += plan.teams * plan.warps) {
      T* const own = rows + row * plan.row_stride;
      if constexpr (form != norm_in_shared) {
        const WholeRow<T, form> held(source + row * inner, lane);
        norm_values_by(
            a, weight, [&](int column) { return load(bias + column); }, held, own);
      } else {
        for_lane_chunks<T>(inner, lane, [&](int column) { store(own + column, load(source + row * inner + column)); });
        norm_shared_row(a, weight, bias, own, lane);
      }
    }
    __syncthreads();
  }
};
template <typename T>
struct FewRows<T, no_norm> {
  __device__ FewRows(const RowProductArguments& /*a*/, const FewPlan& /*plan*/, unsigned char* /*room*/) {}
  template <int later>
  __device__ void wait_for_norm() const {}
};

// By constants, as a block has but sixteen barriers and takes all of them where it names them at run time.
inline __device__ void wait_for_team(int team, int threads) {
  static_assert(most_warps / least_warps == 4);
  switch (team) {
    case 0:
      return wait_for_threads(1, threads);
    case 1:
      return wait_for_threads(2, threads);
    case 2:
      return wait_for_threads(3, threads);
    default:
      return wait_for_threads(4, threads);
  }
}

template <typename T, int stages, FewNorm form>
__global__ void __launch_bounds__(most_warps* warp_size, 2)
    few_rows_product_kernel(RowProductArguments a, FewPlan plan) {
  extern __shared__ __align__(16) unsigned char shared[];
  const int team_threads = plan.warps * warp_size, team = static_cast<int>(threadIdx.x) / team_threads;
  const int thread = static_cast<int>(threadIdx.x) - team * team_threads;
  // [2, warps, few_results], by turns
  float* const partial = reinterpret_cast<float*>(shared + plan.partial_at) + team * 2 * plan.warps * few_results;
  const HeldTiles matrix(a, plan, stages, shared, thread / warp_size);
  const int row = matrix.lane / 4, outputs = static_cast<int>(a.outputs);
  const int each = a.gated ? tile_outputs / 2 : tile_outputs;
  const int stride = static_cast<int>(gridDim.x) * plan.teams * each;
  int first = (static_cast<int>(blockIdx.x) * plan.teams + team) * each, stage = 0, turn = 0;
  const FewRows<T, form> normed(a, plan, shared);
#pragma unroll 1
  for (int later = 0; later < stages; ++later) {
    if (first + later * stride < outputs) {
      matrix.ask<T>(a, first + later * stride, later);
    }
    end_copies();
  }
  FewResult<T> next(a, first, thread);
  let_next_begin();
  normed.template wait_for_norm<stages>();
  wait_for_kernels_before();
  const T* x = static_cast<const T*>(a.x);
  if constexpr (form == no_norm) {
    x += row * a.inner;
  } else {
    normed.take(a, plan, x, static_cast<int>(a.rows));
    x = normed.rows + row * plan.row_stride;
  }
  while (first < outputs) {
    FewResult<T> result = next;
    result.read_before(a);
    float sums[tile_values] = {};
    matrix.multiply<T, stages - 1>(x, row < a.rows ? matrix.inner : 0, stage, sums);
    if (first + stages * stride < outputs) {
      matrix.ask<T>(a, first + stages * stride, stage);
    }
    end_copies();
    stage = stage + 1 == stages ? 0 : stage + 1;
    first += stride;
    if (first < outputs) {
      next = FewResult<T>(a, first, thread);
    }
    float* const sent = partial + turn * plan.warps * few_results;
    turn ^= 1;
    sent[matrix.warp * few_results + matrix.lane] = sums[0];
    sent[matrix.warp * few_results + warp_size + matrix.lane] = sums[1];
    wait_for_team(team, team_threads);
    if (result.at >= 0) {
      static_cast<T*>(a.out)[result.at] = result.value(a, sent, plan.warps, thread);
    }
  }
}

// Teams share the rows that their block reads and norms: with several rows, of all the tiles of a multiprocessor. One
// or two are soon normed, and then smaller blocks overlap better with the kernels around.
int teams_for(int64_t tiles, const RowProductArguments& a) {
  constexpr int64_t few = 2;
  const int most = most_warps / warps_for(a.inner);
  const int64_t wanted = (tiles + multiprocessors() - 1) / multiprocessors();
  const int64_t together = a.rows <= few && wanted > few ? few : wanted;
  return together < most ? static_cast<int>(together) : most;
}

template <typename T, int stages, FewNorm form>
class FewLaunch {
 public:
  FewLaunch(const RowProductArguments& a, int64_t tiles, int teams)
      : plan_(a, stages, teams), needed_((tiles + teams - 1) / teams) {
    int each = 0;  // blocks of a multiprocessor
    if (cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, plan_.bytes) == cudaSuccess &&
        cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, kernel, plan_.threads(),
                                                      static_cast<size_t>(plan_.bytes)) == cudaSuccess) {
      at_once_ = int64_t{each} * multiprocessors();
    } else {
      static_cast<void>(cudaGetLastError());
    }
  }

  bool possible() const { return at_once_ > 0; }
  // Whether each team has one tile.
  bool at_once() const { return needed_ <= at_once_; }
  void queue(const RowProductArguments& a, cudaStream_t stream) const {
    launch_early(kernel, dim3(static_cast<unsigned>(at_once() ? needed_ : at_once_)),
                 static_cast<unsigned>(plan_.threads()), static_cast<size_t>(plan_.bytes), stream, a, plan_);
  }

 private:
  static constexpr auto kernel = few_rows_product_kernel<T, stages, form>;
  FewPlan plan_;
  int64_t needed_, at_once_ = 0;
};

// Teams that take several tiles ask for each while they multiply the one before.
template <typename T, FewNorm form>
bool launch_few_rows(const RowProductArguments& a, cudaStream_t stream) {
  const int64_t tiles = blocks_for(a.outputs, a.gated ? tile_outputs / 2 : tile_outputs);
  const int teams = teams_for(tiles, a);
  const FewLaunch<T, 1, form> plain(a, tiles, teams);
  if (!plain.possible()) {
    return false;
  }
  if (!plain.at_once()) {
    if (const FewLaunch<T, most_stages, form> staged(a, tiles, teams); staged.possible()) {
      staged.queue(a, stream);
      return true;
    }
  }
  plain.queue(a, stream);
  return true;
}

template <typename T>
bool launch_few_rows(const RowProductArguments& a, cudaStream_t stream) {
  if (a.norm_weight == nullptr) {
    return launch_few_rows<T, no_norm>(a, stream);
  }
  switch (a.inner % (warp_size * Chunk<T>::size) == 0 ? a.inner / (warp_size * Chunk<T>::size) : 0) {
    case norm_of_three:
      return launch_few_rows<T, norm_of_three>(a, stream);
    case norm_of_four:
      return launch_few_rows<T, norm_of_four>(a, stream);
    default:
      return launch_few_rows<T, norm_in_shared>(a, stream);
  }
}

}  // namespace

bool few_rows_product(Precision precision, const RowProductArguments& arguments, cudaStream_t stream) {
  if (arguments.rows > few_rows || arguments.inner > most_few_inner) {
    return false;
  }
  if (two_rows_product(precision, arguments, stream)) {
    return true;
  }
  return precision == Precision::float16 ? launch_few_rows<__half>(arguments, stream)
                                         : launch_few_rows<__nv_bfloat16>(arguments, stream);
}

}  // namespace demask::kernels::cuda::launch

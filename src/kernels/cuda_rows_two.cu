// The products of cuda_rows_few.cu for one or two rows in their commonest forms, with the same sums, in as few
// instructions as can be. A block of such a product goes through its code once, and an instruction takes longer to
// fetch than to carry out.
#include "kernels/cuda_activation.cuh"
#include "kernels/cuda_cluster.cuh"
#include "kernels/cuda_early.cuh"
#include "kernels/cuda_rows_few.cuh"
#include "kernels/cuda_rows_tensor.cuh"

namespace demask::kernels::cuda::launch {
namespace {

constexpr int most_rows = 2;
constexpr int64_t most_two_outputs = 8192;  // beyond which blocks had to wait for others' room

// How a block is made: `teams` of `warps` that share a tile, of which each warp takes `blocks` blocks of 32 values.
// Rows are normed where `chunks` is not 0: so many chunks a lane.
template <int chunks_, int blocks_, int warps_>
struct TwoPlan {
  static constexpr int chunks = chunks_, blocks = blocks_, warps = warps_, teams = chunks > 0 ? 2 : 1;
  static constexpr int inner = blocks * warps * values_a_block, threads = teams * warps * warp_size;
  static constexpr int stride = static_cast<int>(row_stride(inner));
  static constexpr int chunk = 8;  // values
  static constexpr int matrix_bytes = blocks * threads * static_cast<int>(sizeof(Bits));
  static_assert(chunks == 0 || (chunks * warp_size * chunk == inner && most_rows * chunks <= teams * warps));
};

// x / divisor as it is rounded: one step corrects the product with the nearest reciprocal, where nothing over- or
// underflows (Markstein 1990).
template <int divisor>
__device__ float divided_by(float x) {
  constexpr float reciprocal = 1.0F / divisor, least = 0x1p-100F, most = 0x1p100F;
  if (fabsf(x) > least && fabsf(x) < most) {
    const float quotient = x * reciprocal;
    return fmaf(fmaf(-quotient, static_cast<float>(divisor), x), reciprocal, quotient);
  }
  return x / static_cast<float>(divisor);
}

// The normed rows, and zeros in place of those that are not there. Each chunk of a row is a warp's work; sums are those
// of norm_values_by, of each lane's chunks in their order and then of the lanes.
template <typename T, typename Plan>
struct TwoNormedRows {
  alignas(16) T rows[most_rows + 1][Plan::stride];
  float sums[2][most_rows * Plan::chunks][warp_size];

  __device__ void clear_last() {
    for (int i = static_cast<int>(threadIdx.x) * Plan::chunk; i < Plan::stride; i += Plan::threads * Plan::chunk) {
      *reinterpret_cast<Bits*>(&rows[most_rows][i]) = Bits{};
    }
  }
};

// A lane's chunk of the norm's weight and bias, which are asked for before the rows are there.
template <typename T, typename Plan>
struct TwoNorm {
  static constexpr int chunks = Plan::chunks, size = Plan::chunk;
  float gain[size], shift[size];
  int warp, row, lane, column;

  __device__ explicit TwoNorm(const RowProductArguments& a)
      : warp(static_cast<int>(threadIdx.x) / warp_size),
        row(warp / chunks),
        lane(static_cast<int>(threadIdx.x) % warp_size),
        column((warp % chunks * warp_size + lane) * size) {
    to_floats(load(static_cast<const T*>(a.norm_weight) + column), gain);
    to_floats(a.norm_bias == nullptr ? Chunk<T>{} : load(static_cast<const T*>(a.norm_bias) + column), shift);
  }

  // The sum of all lanes' and chunks', of this warp's row.
  __device__ float sum_of_row(float own, float (&sums)[most_rows * chunks][warp_size], int rows) const {
    sums[warp][lane] = own;
    wait_for_threads(1, rows * chunks * warp_size);
    float all = 0;
#pragma unroll
    for (int k = 0; k < chunks; ++k) {
      all += sums[row * chunks + k][lane];
    }
    return warp_sum(all);
  }

  __device__ void take(const RowProductArguments& a, TwoNormedRows<T, Plan>& normed) const {
    const int rows = static_cast<int>(a.rows);
    if (warp >= rows * chunks) {
      return;
    }
    float values[size];
    to_floats(load(static_cast<const T*>(a.x) + row * Plan::inner + column), values);
    if (a.form == NormKind::layer) {
      float sum = 0;
#pragma unroll
      for (const float value : values) {
        sum += value;
      }
      const float mean = divided_by<Plan::inner>(sum_of_row(sum, normed.sums[0], rows));
#pragma unroll
      for (float& value : values) {
        value -= mean;
      }
    }
    float squares = 0;
#pragma unroll
    for (const float value : values) {
      squares = fmaf(value, value, squares);
    }
    const float scale = rsqrtf(divided_by<Plan::inner>(sum_of_row(squares, normed.sums[1], rows)) + a.epsilon);
    Chunk<T> out;
#pragma unroll
    for (int i = 0; i < size; ++i) {
      out.values[i] = from_float<T>(fmaf(values[i] * scale, gain[i], shift[i]));
    }
    store(&normed.rows[row][column], out);
  }
};
template <typename T, int blocks, int warps>
struct TwoNorm<T, TwoPlan<0, blocks, warps>> {
  __device__ explicit TwoNorm(const RowProductArguments& /*a*/) {}
};
template <typename T, int blocks, int warps>
struct TwoNormedRows<T, TwoPlan<0, blocks, warps>> {};

// Where a thread stands: in its block, in the tile that its team multiplies, and in the team's results.
template <typename Plan>
struct TwoPlace {
  int lane, team, warp;  // warp: of the team
  int first, column;     // of the tile's outputs; of the warp's values, the lane's first
  int row, output;       // of the thread's own result

  __device__ TwoPlace() {
    constexpr int team_threads = Plan::warps * warp_size;
    const int thread = static_cast<int>(threadIdx.x) % team_threads;
    lane = thread % warp_size;
    team = static_cast<int>(threadIdx.x) / team_threads;
    warp = thread / warp_size;
    first = (static_cast<int>(blockIdx.x) * Plan::teams + team) * tile_outputs;
    column = warp * values_a_block + lane % 4 * Plan::chunk;
    row = thread / tile_outputs;
    output = first + thread % tile_outputs;
  }
  __device__ bool has_result(const RowProductArguments& a) const { return row < a.rows && output < a.outputs; }

  // By constants, as wait_for_team of cuda_rows_few.cu.
  __device__ void wait_for_team() const {
    static_assert(Plan::teams <= 2);
    if constexpr (Plan::teams == 1) {
      __syncthreads();
    } else if (team == 0) {
      wait_for_threads(2, Plan::warps * warp_size);
    } else {
      wait_for_threads(3, Plan::warps * warp_size);
    }
  }
};

// Asks for a thread's part of the matrix: a chunk of each of its warp's blocks, `threads` chunks apart.
template <typename T, typename Plan>
__device__ void ask_for_matrix(const RowProductArguments& a, const TwoPlace<Plan>& place, Bits* own) {
  const int output = min(place.first + place.lane / 4, static_cast<int>(a.outputs) - 1);
  const T* const source = static_cast<const T*>(a.weight) + output * int64_t{Plan::inner} + place.column;
#pragma unroll
  for (int k = 0; k < Plan::blocks; ++k) {
    copy_later(source + k * Plan::warps * values_a_block, own + k * Plan::threads);
  }
  end_copies();
}

// A lane's chunks of x's row lane / 4, each `warps` blocks after the one before.
template <typename T, typename Plan>
__device__ void read_row(const T* first, Bits (&x)[Plan::blocks]) {
#pragma unroll
  for (int k = 0; k < Plan::blocks; ++k) {
    x[k] = *reinterpret_cast<const Bits*>(first + k * Plan::warps * values_a_block);
  }
}

template <typename T, typename Plan>
__device__ void multiply(const Bits (&x)[Plan::blocks], const Bits* own, float (&sums)[tile_values]) {
#pragma unroll
  for (int k = 0; k < Plan::blocks; ++k) {
    const Bits part = own[k * Plan::threads];
    multiply_add<T>(sums, x[k].x, 0, x[k].y, 0, part.x, part.y);
    multiply_add<T>(sums, x[k].z, 0, x[k].w, 0, part.z, part.w);
  }
}

// The warps' sums of a result, in their order.
template <int warps>
__device__ float sum_of_warps(const float (&sent)[warps + 4]) {
  float sum = 0;
#pragma unroll
  for (int w = 0; w < warps; w += 4) {
    const float4 four = *reinterpret_cast<const float4*>(&sent[w]);
    sum += four.x;
    sum += four.y;
    sum += four.z;
    sum += four.w;
  }
  return sum;
}

template <typename T, typename Plan, bool activates, Activation activation>
__global__ void __launch_bounds__(Plan::threads) two_rows_product_kernel(RowProductArguments a) {
  extern __shared__ __align__(16) unsigned char room[];
  Bits* const matrix = reinterpret_cast<Bits*>(room) + threadIdx.x;
  __shared__ alignas(16) float partial[Plan::teams][most_rows][tile_outputs][Plan::warps + 4];
  __shared__ TwoNormedRows<T, Plan> normed;
  const TwoPlace<Plan> place;
  const int rows = static_cast<int>(a.rows), row = place.lane / 4;
  ask_for_matrix<T>(a, place, matrix);
  const bool has_result = place.has_result(a);
  T* const out = static_cast<T*>(a.out) + place.row * a.outputs + place.output;
  const float bias = has_result && a.bias != nullptr ? to_float(static_cast<const T*>(a.bias)[place.output]) : 0.0F;
  const TwoNorm<T, Plan> norm(a);
  if constexpr (Plan::chunks > 0) {
    normed.clear_last();
  }
  let_next_begin();
  wait_for_kernels_before();
  Bits x[Plan::blocks]{};
  const float before = has_result && a.adds ? to_float(*out) : 0.0F;
  if constexpr (Plan::chunks > 0) {
    norm.take(a, normed);
    __syncthreads();
    read_row<T, Plan>(&normed.rows[row < rows ? row : most_rows][place.column], x);
  } else if (row < rows) {
    read_row<T, Plan>(static_cast<const T*>(a.x) + row * Plan::inner + place.column, x);
  }
  wait_for_copies<0>();
  float sums[tile_values] = {};
  multiply<T, Plan>(x, matrix, sums);
  if (row < rows) {
    partial[place.team][row][place.lane % 4 * 2][place.warp] = sums[0];
    partial[place.team][row][place.lane % 4 * 2 + 1][place.warp] = sums[1];
  }
  place.wait_for_team();
  if (!has_result) {
    return;
  }
  float sum = sum_of_warps<Plan::warps>(partial[place.team][place.row][place.output - place.first]) + bias;
  if constexpr (activates) {
    sum = activate<activation>(sum);
  }
  *out = from_float<T>(sum + before);
}

template <typename T, typename Plan, bool activates, Activation activation>
bool launch(const RowProductArguments& a, cudaStream_t stream) {
  const auto kernel = two_rows_product_kernel<T, Plan, activates, activation>;
  if (cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Plan::matrix_bytes) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    return false;
  }
  launch_early(kernel, dim3(blocks_for(a.outputs, Plan::teams * tile_outputs)), Plan::threads, Plan::matrix_bytes,
               stream, a);
  return true;
}

template <typename T, int chunks>
bool launch_normed(const RowProductArguments& a, cudaStream_t stream) {
  using Plan = TwoPlan<chunks, 2 * chunks, least_warps>;
  if (a.adds) {
    return false;
  }
  if (!a.activates) {
    return launch<T, Plan, false, Activation::gelu>(a, stream);
  }
  switch (a.activation) {
    case Activation::gelu:
      return launch<T, Plan, true, Activation::gelu>(a, stream);
    case Activation::gelu_tanh:
      return launch<T, Plan, true, Activation::gelu_tanh>(a, stream);
    default:
      return false;
  }
}

template <typename T>
bool launch_by_inner(const RowProductArguments& a, cudaStream_t stream) {
  constexpr int narrow = 768, wide = 1024;
  if (a.norm_weight != nullptr) {
    return a.inner == narrow ? launch_normed<T, 3>(a, stream) : a.inner == wide && launch_normed<T, 4>(a, stream);
  }
  if (a.activates) {
    return false;
  }
  switch (a.inner) {
    case narrow:
      return launch<T, TwoPlan<0, 6, least_warps>, false, Activation::gelu>(a, stream);
    case 4 * narrow:
      return launch<T, TwoPlan<0, 6, most_warps>, false, Activation::gelu>(a, stream);
    case wide:
      return launch<T, TwoPlan<0, 8, least_warps>, false, Activation::gelu>(a, stream);
    case 4 * wide:
      return launch<T, TwoPlan<0, 8, most_warps>, false, Activation::gelu>(a, stream);
    default:
      return false;
  }
}

}  // namespace

bool two_rows_product(Precision precision, const RowProductArguments& a, cudaStream_t stream) {
  if (a.rows > most_rows || a.outputs > most_two_outputs || a.gated) {
    return false;
  }
  return precision == Precision::float16 ? launch_by_inner<__half>(a, stream)
                                         : launch_by_inner<__nv_bfloat16>(a, stream);
}

}  // namespace demask::kernels::cuda::launch

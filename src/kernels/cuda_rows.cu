// Products of a few rows with a whole matrix, as decoding has them: all the time goes into reading the matrix once, so
// what stands before and after a product (norm, bias, activation, gate, addition) is done in the same kernel, and the
// first of the matrix is asked for before the rows are even there. These are the products of float32, and of devices
// without tensor cores; see cuda_rows_tensor.cu for the others.
#include "kernels/cuda_activation.cuh"
#include "kernels/cuda_early.cuh"
#include "kernels/cuda_rows.cuh"

namespace demask::kernels::cuda::launch {
namespace {

constexpr int least_block_warps = 4, most_block_warps = 16;
constexpr int most_threads = most_block_warps * warp_size;
constexpr int most_chunks = 4;                       // of a row of the matrix, on their way to a thread
constexpr int rows_at_once = 2;                      // of the matrix: two outputs, or one where it is gated
constexpr int64_t most_shared = int64_t{60} * 1024;  // of rows and norm, on every device if asked for
static_assert(most_block_warps * warp_size * most_chunks * bytes_at_once == max_product_row_bytes);

// The warps of a team share a row of the matrix, and with it the sums over `inner`. Both depend on nothing but a row's
// bytes, so that a result does not depend on how many rows are multiplied.
struct Geometry {
  int team_warps = 1;
  int chunks = most_chunks;  // that a thread takes of a row of the matrix
};

Geometry geometry_of(int64_t row_bytes) {
  constexpr int64_t bytes_of_warp = warp_size * bytes_at_once;
  const int64_t chunks = (row_bytes + bytes_of_warp - 1) / bytes_of_warp;
  Geometry found;
  while (chunks > found.team_warps * most_chunks && found.team_warps < most_block_warps) {
    found.team_warps *= 2;
  }
  found.chunks = chunks > found.team_warps * (most_chunks - 1) ? most_chunks : most_chunks - 1;
  return found;
}

template <typename T>
__device__ Chunk<T> chunk_of(const Bits& bits) {
  return *reinterpret_cast<const Chunk<T>*>(&bits);
}

// Where a thread stands in its block.
struct Place {
  int team_threads, member, teams, team, warp, lane;

  __device__ explicit Place(int team_warps)
      : team_threads(team_warps * warp_size),
        member(static_cast<int>(threadIdx.x) & (team_threads - 1)),
        teams(static_cast<int>(blockDim.x) / team_threads),
        team(static_cast<int>(threadIdx.x) / team_threads),
        warp(static_cast<int>(threadIdx.x) / warp_size),
        lane(static_cast<int>(threadIdx.x) % warp_size) {}
};

// This thread's part of two rows of the matrix: of outputs `output` and the next, or of its gate and its up.
template <typename T, int chunks>
struct MatrixPart {
  Bits values[rows_at_once][chunks];

  __device__ void read(const RowProductArguments& a, int output, const Place& place) {
    const int inner = static_cast<int>(a.inner);
    const T* first = static_cast<const T*>(a.weight) + output * a.inner;
    const T* second = first + (a.gated ? a.outputs * a.inner : output + 1 < a.outputs ? a.inner : 0);
#pragma unroll
    for (int c = 0; c < chunks; ++c) {
      const int column = (c * place.team_threads + place.member) * Chunk<T>::size;
      const bool within = column < inner;
      values[0][c] = within ? load_streaming(first + column) : Bits{};
      values[1][c] = within ? load_streaming(second + column) : Bits{};
    }
  }

  // Adds the products with x [rows, inner], which is in shared memory, to the sums [rows_at_once * rows].
  template <int count>
  __device__ void multiply(const T* x, int inner, const Place& place, float (&sums)[count]) const {
    constexpr int size = Chunk<T>::size, rows = count / rows_at_once;
#pragma unroll
    for (int c = 0; c < chunks; ++c) {
      const int column = (c * place.team_threads + place.member) * size;
      if (column < inner) {
        const Chunk<T> one = chunk_of<T>(values[0][c]), other = chunk_of<T>(values[1][c]);
#pragma unroll
        for (int r = 0; r < rows; ++r) {
          const Chunk<T> own = load(x + r * inner + column);
#pragma unroll
          for (int i = 0; i < size; ++i) {
            const float value = to_float(own.values[i]);
            sums[r] = fmaf(to_float(one.values[i]), value, sums[r]);
            sums[rows + r] = fmaf(to_float(other.values[i]), value, sums[rows + r]);
          }
        }
      }
    }
  }
};

// Sums `count` values, a power of two, over the lanes, in one order for every count: lane l gets the total of value
// l * count / 32. Each exchange of lanes `offset` apart leaves every lane half of the values.
template <int offset = warp_size / 2, int count>
__device__ float sum_to_lanes(const float (&values)[count], int lane) {
  if constexpr (offset == 0) {
    return values[0];
  } else if constexpr (count == 1) {
    const float both[1] = {values[0] + __shfl_xor_sync(all_lanes, values[0], offset)};
    return sum_to_lanes<offset / 2>(both, lane);
  } else {
    const bool upper = (lane & offset) != 0;
    float half[count / 2];
#pragma unroll
    for (int i = 0; i < count / 2; ++i) {
      const float kept = upper ? values[i + count / 2] : values[i];
      const float given = upper ? values[i] : values[i + count / 2];
      half[i] = kept + __shfl_xor_sync(all_lanes, given, offset);
    }
    return sum_to_lanes<offset / 2>(half, lane);
  }
}

// What a lane of a team's first warp does with the total that sum_to_lanes gives it: that of the matrix's row
// `matrix_row` of two with the row `x_row` of x.
template <typename T, int rows>
struct Finish {
  struct Addends {
    float bias = 0, up_bias = 0, before = 0;
  };
  int x_row, matrix_row;
  bool leads;  // of the lanes with the same total, and has one to write

  __device__ Finish(const RowProductArguments& a, const Place& place) {
    constexpr int half = warp_size / 2, lanes_each = half / rows;
    matrix_row = place.lane / half;
    x_row = place.lane % half / lanes_each;
    leads = place.member < warp_size && place.lane % lanes_each == 0 && x_row < a.rows && !(a.gated && matrix_row == 1);
  }

  __device__ bool writes(const RowProductArguments& a, int output) const {
    return leads && output + matrix_row < static_cast<int>(a.outputs);
  }
  __device__ T* out(const RowProductArguments& a, int output) const {
    return static_cast<T*>(a.out) + x_row * a.outputs + output + matrix_row;
  }

  __device__ void read_bias(const RowProductArguments& a, int output, Addends& addends) const {
    if (writes(a, output) && a.bias != nullptr) {
      const T* biases = static_cast<const T*>(a.bias) + output + matrix_row;
      addends.bias = to_float(biases[0]);
      addends.up_bias = a.gated ? to_float(biases[a.outputs]) : 0.0F;
    }
  }
  __device__ void read_before(const RowProductArguments& a, int output, Addends& addends) const {
    if (writes(a, output) && a.adds) {
      addends.before = to_float(*out(a, output));
    }
  }

  __device__ void write(const RowProductArguments& a, int output, const Addends& addends, float total) const {
    const float up = __shfl_xor_sync(all_lanes, total, warp_size / 2);
    if (writes(a, output)) {
      float value = total + addends.bias;
      value = a.activates ? activate(a.activation, value) : value;
      value = a.gated ? value * (up + addends.up_bias) : value;
      *out(a, output) = from_float<T>(value + addends.before);
    }
  }
};

// x [rows, inner] in shared memory, normed where asked; rows past the arguments' hold anything.
template <typename T>
__device__ void stage_rows(const RowProductArguments& a, const StagedNorm<T>& norm, T* staged, const Place& place) {
  const int inner = static_cast<int>(a.inner), rows = static_cast<int>(a.rows);
  stage(static_cast<const T*>(a.x), rows * inner, staged);
  __syncthreads();
  if (a.norm_weight != nullptr) {
    for (int r = place.warp; r < rows; r += static_cast<int>(blockDim.x) / warp_size) {
      norm_shared_row(a, norm.weight, norm.bias, staged + r * inner, place.lane);
    }
    __syncthreads();
  }
}

// The total over a team's warps, for its first warp; `partial` [warps, count] is shared memory that no thread reads
// from before.
template <int count>
__device__ float sum_over_team(float total, int team_warps, const Place& place, float (*partial)[count]) {
  constexpr int lanes_each = warp_size / count;
  const int index = place.lane / lanes_each;
  if (place.lane % lanes_each == 0) {
    partial[place.warp][index] = total;
  }
  __syncthreads();
  if (place.member < warp_size) {
    total = partial[place.warp][index];
    for (int w = 1; w < team_warps; ++w) {
      total += partial[place.warp + w][index];
    }
  }
  return total;
}

template <typename T, int rows, int chunks>
__global__ void __launch_bounds__(most_threads)
    row_product_kernel(RowProductArguments a, int team_warps, bool stages_norm) {
  extern __shared__ __align__(16) unsigned char shared[];
  constexpr int count = rows_at_once * rows;
  a = rows_of_block<T>(a, rows);
  __shared__ float partial[2][most_block_warps][count];  // by turns
  T* const x = reinterpret_cast<T*>(shared);
  const Place place(team_warps);
  const int inner = static_cast<int>(a.inner);
  const int outputs = static_cast<int>(a.outputs), outputs_each = a.gated ? 1 : rows_at_once;
  const int outputs_a_block = place.teams * outputs_each, stride = static_cast<int>(gridDim.x) * outputs_a_block;
  int first = static_cast<int>(blockIdx.x) * outputs_a_block;  // of the block, so that its threads take as many turns
  int output = first + place.team * outputs_each;
  const Finish<T, rows> finish(a, place);
  typename Finish<T, rows>::Addends addends;
  MatrixPart<T, chunks> part;
  if (output < outputs) {
    part.read(a, output, place);
    finish.read_bias(a, output, addends);
  }
  let_next_begin();
  const StagedNorm<T> norm(a, x + rows * inner, stages_norm);
  wait_for_kernels_before();
  finish.read_before(a, output, addends);
  stage_rows(a, norm, x, place);
  for (int turn = 0; first < outputs; first += stride, output += stride, turn ^= 1) {
    float sums[count] = {};
    part.multiply(x, inner, place, sums);
    const typename Finish<T, rows>::Addends current = addends;
    if (output + stride < outputs) {
      part.read(a, output + stride, place);
      finish.read_bias(a, output + stride, addends);
      finish.read_before(a, output + stride, addends);
    }
    float total = sum_to_lanes(sums, place.lane);
    if (team_warps > 1) {
      total = sum_over_team(total, team_warps, place, partial[turn]);
    }
    finish.write(a, output, current, total);
  }
}

bool on_tensor_cores(Precision precision) {
  return precision != Precision::float32 && has_tensor_cores();
}

// The rows of x that a block holds in shared memory: as many as there are, within what is lent.
int64_t rows_together(int64_t rows, int64_t row_bytes) {
  int64_t together = 1;
  while (together < rows && together < max_product_rows && 2 * together * row_bytes <= max_product_bytes) {
    together *= 2;
  }
  return together;
}

template <typename T, int rows, int chunks>
void launch_row_product(const RowProductArguments& a, int team_warps, cudaStream_t stream) {
  const int block_warps = team_warps > least_block_warps ? team_warps : least_block_warps;
  const int threads = block_warps * warp_size;
  const int64_t row_bytes = a.inner * static_cast<int64_t>(sizeof(T)), normed_bytes = (rows + 2) * row_bytes;
  const bool stages_norm = a.norm_weight != nullptr && normed_bytes <= most_shared;
  const auto bytes = static_cast<size_t>(stages_norm ? normed_bytes : rows * row_bytes);
  const auto kernel = row_product_kernel<T, rows, chunks>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(most_shared));
  int at_once = 1;  // blocks of a multiprocessor
  cudaOccupancyMaxActiveBlocksPerMultiprocessor(&at_once, kernel, threads, bytes);
  const int64_t outputs_a_block = block_warps / team_warps * (a.gated ? 1 : rows_at_once);
  const int64_t needed = (a.outputs + outputs_a_block - 1) / outputs_a_block;
  const int64_t most = static_cast<int64_t>(at_once > 0 ? at_once : 1) * multiprocessors();
  const dim3 blocks(static_cast<unsigned>(needed < most ? needed : most), blocks_for(a.rows, rows));
  launch_early(kernel, blocks, static_cast<unsigned>(threads), bytes, stream, a, team_warps, stages_norm);
}

template <typename T, int rows>
void launch_row_product(const RowProductArguments& a, cudaStream_t stream) {
  const Geometry geometry = geometry_of(a.inner * static_cast<int64_t>(sizeof(T)));
  if (geometry.chunks == most_chunks) {
    launch_row_product<T, rows, most_chunks>(a, geometry.team_warps, stream);
  } else {
    launch_row_product<T, rows, most_chunks - 1>(a, geometry.team_warps, stream);
  }
}

template <typename T>
void launch_row_product(const RowProductArguments& a, cudaStream_t stream) {
  switch (rows_together(a.rows, a.inner * static_cast<int64_t>(sizeof(T)))) {
    case 1:
      return launch_row_product<T, 1>(a, stream);
    case 2:
      return launch_row_product<T, 2>(a, stream);
    case 4:
      return launch_row_product<T, 4>(a, stream);
    default:
      return launch_row_product<T, max_product_rows>(a, stream);
  }
}

}  // namespace

bool takes_row_product(Precision precision, int64_t inner) {
  const int64_t size = precision == Precision::float32 ? 4 : 2;
  return inner * size % bytes_at_once == 0 && (on_tensor_cores(precision) || inner * size <= max_product_row_bytes);
}

int64_t normed_row_values(Precision precision, const RowProductArguments& arguments) {
  return on_tensor_cores(precision) && arguments.norm_weight != nullptr && norms_apart(arguments)
             ? arguments.rows * arguments.inner
             : 0;
}

void row_product(Precision precision, const RowProductArguments& arguments, cudaStream_t stream) {
  if (on_tensor_cores(precision)) {
    return tensor_row_product(precision, arguments, stream);
  }
  with_type(precision, [&](auto type) { launch_row_product<decltype(type)>(arguments, stream); });
}

}  // namespace demask::kernels::cuda::launch

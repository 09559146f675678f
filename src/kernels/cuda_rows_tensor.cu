// The products of cuda_rows.cu for 16-bit types, on tensor cores, which take 16 rows in the time of one. A sum over
// `inner` is cut in the same way whatever the number of rows: block by block of 32 values to the warps in turn, whose
// sums are added in their order. So a row's result depends on no other row.
#include "kernels/cuda_activation.cuh"
#include "kernels/cuda_early.cuh"
#include "kernels/cuda_rows_few.cuh"
#include "kernels/cuda_rows_tensor.cuh"

namespace demask::kernels::cuda::launch {
namespace {

constexpr int most_rows_normed_here = 8;
constexpr int64_t most_shared = int64_t{60} * 1024;

// How a block cuts its work, which changes no result: tiles of rows of x, or the upper half of one, tiles of outputs,
// and how many blocks of the matrix are on their way to a warp.
template <int rows_, int outputs_, int ahead_, bool half_ = false>
struct Cut {
  static constexpr int row_tiles = rows_, output_tiles = outputs_, ahead = ahead_;
  static constexpr bool half = half_;
  static constexpr int rows = half ? tile_rows / 2 : row_tiles * tile_rows;
};

// The rows of x that a block multiplies: in shared memory, or where they are.
template <typename T>
struct Rows {
  const T* x;
  int stride, count, inner;

  // This lane's 8 values of a row of x from `column` on; nothing beyond the rows and their ends.
  __device__ Bits read(int row, int column) const {
    return row < count && column < inner
               ? *reinterpret_cast<const Bits*>(x + static_cast<int64_t>(row) * stride + column)
               : Bits{};
  }
};

// A warp's part of the matrix, blocks warp, warp + warps, ..., `ahead` of them on their way. Lane l has 8 values of row
// l / 4, which go to both operands of an instruction alike, so that it does not matter in which order it adds them.
template <typename T, typename Cut>
struct MatrixBlocks {
  static constexpr int output_tiles = Cut::output_tiles, row_tiles = Cut::row_tiles, ahead = Cut::ahead;
  Bits values[ahead][output_tiles];
  const T* rows[output_tiles];
  int inner, warps, warp, lane;

  __device__ MatrixBlocks(const RowProductArguments& a)
      : inner(static_cast<int>(a.inner)),
        warps(static_cast<int>(blockDim.x) / warp_size),
        warp(static_cast<int>(threadIdx.x) / warp_size),
        lane(static_cast<int>(threadIdx.x) % warp_size) {}

  __device__ int column(int block) const { return (warp + block * warps) * values_a_block + lane % 4 * Chunk<T>::size; }
  __device__ int blocks() const {  // of this warp
    return ((inner + values_a_block - 1) / values_a_block - warp + warps - 1) / warps;
  }
  __device__ Bits read(int tile, int block) const {
    const int at = column(block);
    if (at >= inner) {
      return Bits{};
    }
    return gridDim.y == 1 ? load_streaming(rows[tile] + at) : __ldg(reinterpret_cast<const Bits*>(rows[tile] + at));
  }
  // Of outputs `first` and on: a tile's 8 rows of the matrix are 8 outputs, or the gates of 4 and then their ups.
  __device__ void begin(const RowProductArguments& a, int64_t first) {
    const int row = lane / 4, each = a.gated ? tile_outputs / 2 : tile_outputs;
#pragma unroll
    for (int tile = 0; tile < output_tiles; ++tile) {
      const int64_t wanted = first + tile * each + row % each;
      const int64_t output = wanted < a.outputs ? wanted : a.outputs - 1;
      rows[tile] = static_cast<const T*>(a.weight) + (output + (row < each ? 0 : a.outputs)) * a.inner;
    }
#pragma unroll
    for (int block = 0; block < ahead; ++block) {
#pragma unroll
      for (int tile = 0; tile < output_tiles; ++tile) {
        values[block][tile] = read(tile, block);
      }
    }
  }

  __device__ void multiply(const Rows<T>& x, float (&sums)[output_tiles][row_tiles][tile_values]) {
    const int end = blocks(), upper = lane / 4, lower = upper + tile_rows / 2;
    for (int start = 0; start < end; start += ahead) {
      Bits own[ahead][row_tiles][2];
#pragma unroll
      for (int block = 0; block < ahead; ++block) {
#pragma unroll
        for (int tile = 0; tile < row_tiles; ++tile) {
          own[block][tile][0] = x.read(tile * tile_rows + upper, column(start + block));
          own[block][tile][1] = Cut::half ? Bits{} : x.read(tile * tile_rows + lower, column(start + block));
        }
      }
#pragma unroll
      for (int block = 0; block < ahead; ++block) {
#pragma unroll
        for (int output = 0; output < output_tiles; ++output) {
          const Bits matrix = values[block][output];
          values[block][output] = read(output, start + block + ahead);
#pragma unroll
          for (int tile = 0; tile < row_tiles; ++tile) {
            const Bits above = own[block][tile][0], below = own[block][tile][1];
            multiply_add<T>(sums[output][tile], above.x, below.x, above.y, below.y, matrix.x, matrix.y);
            multiply_add<T>(sums[output][tile], above.z, below.z, above.w, below.w, matrix.z, matrix.w);
          }
        }
      }
    }
  }
};

// Where in a block's results [16 * row_tiles, 8] the sum number `index` stands: warp_size of each value of a tile.
struct Spot {
  int row, column;

  __device__ explicit Spot(int index)
      : row(index / (warp_size * tile_values) * tile_rows + index % warp_size / 4 +
            (index / warp_size % tile_values >= 2 ? tile_rows / 2 : 0)),
        column(index % 4 * 2 + index / warp_size % 2) {}
};

// What one result becomes once its sum is known.
template <typename T>
struct Result {
  float bias = 0, up_bias = 0, before = 0;
  T* out = nullptr;  // none: there is no such result

  __device__ Result(const RowProductArguments& a, const Spot& spot, int64_t first_output) {
    const int each = a.gated ? tile_outputs / 2 : tile_outputs;
    const int64_t output = first_output + spot.column;
    if (spot.row >= a.rows || spot.column >= each || output >= a.outputs) {
      return;
    }
    out = static_cast<T*>(a.out) + spot.row * a.outputs + output;
    if (a.bias != nullptr) {
      const T* biases = static_cast<const T*>(a.bias) + output;
      bias = to_float(biases[0]);
      up_bias = a.gated ? to_float(biases[a.outputs]) : 0.0F;
    }
    before = a.adds ? to_float(*out) : 0.0F;
  }

  __device__ void write(const RowProductArguments& a, float total, float up) const {
    float value = total + bias;
    value = a.activates ? activate(a.activation, value) : value;
    value = a.gated ? value * (up + up_bias) : value;
    *out = from_float<T>(value + before);
  }
};

template <typename T>
__global__ void __launch_bounds__(warp_size) norm_rows_kernel(RowProductArguments a) {
  extern __shared__ __align__(16) unsigned char shared[];
  T* const row = reinterpret_cast<T*>(shared);
  T* const out = static_cast<T*>(a.normed) + blockIdx.x * a.inner;
  const int lane = static_cast<int>(threadIdx.x), inner = static_cast<int>(a.inner);
  let_next_begin();
  wait_for_kernels_before();
  const T* source = static_cast<const T*>(a.x) + blockIdx.x * a.inner;
  for_lane_chunks<T>(inner, lane, [&](int column) { store(row + column, load(source + column)); });
  norm_shared_row(a, static_cast<const T*>(a.norm_weight), static_cast<const T*>(a.norm_bias), row, lane);
  for_lane_chunks<T>(inner, lane, [&](int column) { store(out + column, load(row + column)); });
}

template <typename T, typename Cut>
__global__ void __launch_bounds__(most_warps* warp_size) tensor_row_product_kernel(RowProductArguments a) {
  extern __shared__ __align__(16) unsigned char shared[];
  constexpr int row_tiles = Cut::row_tiles, output_tiles = Cut::output_tiles;
  constexpr int results = row_tiles * tile_values * warp_size;  // of a tile of outputs
  __shared__ float partial[most_warps][results];
  a = rows_of_block<T>(a, Cut::rows);
  MatrixBlocks<T, Cut> matrix(a);
  const int thread = static_cast<int>(threadIdx.x), tile_each = a.gated ? tile_outputs / 2 : tile_outputs;
  const int64_t each = output_tiles * tile_each;
  int64_t first = blockIdx.x * each;
  if (first < a.outputs) {
    matrix.begin(a, first);
  }
  let_next_begin();
  const int inner = static_cast<int>(a.inner);
  Rows<T> x{static_cast<const T*>(a.x), inner, static_cast<int>(a.rows), inner};
  if (a.norm_weight != nullptr) {
    T* const staged = reinterpret_cast<T*>(shared);
    x.stride = static_cast<int>(row_stride(a.inner));
    const StagedNorm<T> norm(a, staged + a.rows * x.stride, true);
    wait_for_kernels_before();
    __syncthreads();  // for the staged norm
    norm_into(a, norm, staged, x.stride);
    x.x = staged;
  } else {
    wait_for_kernels_before();
  }
  for (; first < a.outputs; first += gridDim.x * each) {
    const Result<T> own(a, Spot(thread < results ? thread : 0), first);  // on its way while the products are made
    float sums[output_tiles][row_tiles][tile_values] = {};
    matrix.multiply(x, sums);
    if (first + gridDim.x * each < a.outputs) {
      matrix.begin(a, first + gridDim.x * each);
    }
#pragma unroll
    for (int tile = 0; tile < output_tiles; ++tile) {
      __syncthreads();  // whoever still reads the tile before
#pragma unroll
      for (int i = 0; i < row_tiles * tile_values; ++i) {
        partial[matrix.warp][i * warp_size + matrix.lane] = sums[tile][i / tile_values][i % tile_values];
      }
      __syncthreads();
      for (int index = thread; index < results; index += static_cast<int>(blockDim.x)) {
        const Result<T> result =
            tile == 0 && index == thread ? own : Result<T>(a, Spot(index), first + tile * tile_each);
        if (result.out == nullptr) {
          continue;
        }
        float total = partial[0][index], up = a.gated ? partial[0][index + 2] : 0.0F;
        for (int w = 1; w < matrix.warps; ++w) {
          total += partial[w][index];
          up += a.gated ? partial[w][index + 2] : 0.0F;
        }
        result.write(a, total, up);
      }
    }
  }
}

// What a block needs of shared memory to norm rows.
int64_t shared_bytes(const RowProductArguments& a) {
  return (a.rows * row_stride(a.inner) + 2 * a.inner) * static_cast<int64_t>(sizeof(__half));
}

template <typename T, typename Cut>
void launch_tensor_row_product(const RowProductArguments& a, cudaStream_t stream) {
  const unsigned threads = static_cast<unsigned>(warps_for(a.inner) * warp_size);
  const auto bytes = static_cast<size_t>(a.norm_weight != nullptr ? shared_bytes(a) : 0);
  const auto kernel = tensor_row_product_kernel<T, Cut>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(most_shared));
  int at_once = 1;  // blocks of a multiprocessor
  cudaOccupancyMaxActiveBlocksPerMultiprocessor(&at_once, kernel, static_cast<int>(threads), bytes);
  const unsigned needed = blocks_for(a.outputs, Cut::output_tiles * (a.gated ? tile_outputs / 2 : tile_outputs));
  const auto most = static_cast<unsigned>((at_once > 0 ? at_once : 1) * multiprocessors());
  const dim3 blocks(needed < most ? needed : most, blocks_for(a.rows, Cut::rows));
  launch_early(kernel, blocks, threads, bytes, stream, a);
}

template <typename T>
void launch_tensor_row_product(RowProductArguments a, cudaStream_t stream) {
  if (a.norm_weight != nullptr && norms_apart(a)) {
    const auto kernel = norm_rows_kernel<T>;
    const auto bytes = static_cast<size_t>(a.inner) * sizeof(T);
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
    launch_early(kernel, dim3(static_cast<unsigned>(a.rows)), warp_size, bytes, stream, a);
    a.x = a.normed;
    a.norm_weight = nullptr;
    a.norm_bias = nullptr;
  }
  if (few_rows_product(std::is_same_v<T, __half> ? Precision::float16 : Precision::bfloat16, a, stream)) {
    return;
  }
  // The more rows, the more often each is read, unless a block takes more of the matrix.
  if (a.rows <= tile_rows / 2) {
    launch_tensor_row_product<T, Cut<1, 1, 6, true>>(a, stream);
  } else if (a.rows <= tile_rows) {
    launch_tensor_row_product<T, Cut<1, 1, 3>>(a, stream);
  } else if (a.rows <= 2 * tile_rows) {
    launch_tensor_row_product<T, Cut<2, 1, 2>>(a, stream);
  } else if (a.rows <= 4 * tile_rows) {
    launch_tensor_row_product<T, Cut<2, 2, 2>>(a, stream);
  } else {
    launch_tensor_row_product<T, Cut<2, 4, 1>>(a, stream);
  }
}

}  // namespace

bool norms_apart(const RowProductArguments& arguments) {
  return arguments.rows > most_rows_normed_here || shared_bytes(arguments) > most_shared;
}

bool has_tensor_cores() {
  constexpr int first_version = 80;
  cudaFuncAttributes attributes{};
  return cudaFuncGetAttributes(&attributes, tensor_row_product_kernel<__half, Cut<1, 2, 2>>) == cudaSuccess &&
         attributes.ptxVersion >= first_version;
}

void tensor_row_product(Precision precision, const RowProductArguments& arguments, cudaStream_t stream) {
  if (precision == Precision::float16) {
    launch_tensor_row_product<__half>(arguments, stream);
  } else {
    launch_tensor_row_product<__nv_bfloat16>(arguments, stream);
  }
}

}  // namespace demask::kernels::cuda::launch

// The products of cuda_rows.cu for 16-bit types, on tensor cores, which take 16 rows in the time of one. A sum over
// `inner` is cut in the same way whatever the number of rows: block by block of 32 values to the warps in turn, whose
// sums are added in their order. So a row's result depends on no other row.
#include "kernels/cuda_activation.cuh"
#include "kernels/cuda_cluster.cuh"
#include "kernels/cuda_early.cuh"
#include "kernels/cuda_rows_tensor.cuh"

namespace demask::kernels::cuda::launch {
namespace {

constexpr int most_rows_normed_here = 8;
constexpr int64_t most_shared = int64_t{112} * 1024;  // that a block asks for, on devices which have it

// How a block cuts its work, which changes no result: tiles of rows of x, or the upper half of one, tiles of outputs,
// and how many blocks of the matrix are on their way to a warp.
template <int rows_, int outputs_, int ahead_, bool half_ = false>
struct Cut {
  static constexpr int row_tiles = rows_, output_tiles = outputs_, ahead = ahead_;
  static constexpr bool half = half_;
  static constexpr int rows = half ? tile_rows / 2 : row_tiles * tile_rows;
  static constexpr int slots = ahead * output_tiles;  // chunks of the matrix that a thread waits for
};

// The rows of x that a block multiplies: in shared memory, or where they are and asked for all at once.
template <typename T, bool shared>
struct Rows {
  static constexpr bool near = shared;
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
// What is on its way comes into shared memory, where no thread reads another's: in registers it would leave those too
// few for the kernels that begin early.
template <typename T, typename Cut>
struct MatrixBlocks {
  static constexpr int output_tiles = Cut::output_tiles, row_tiles = Cut::row_tiles, ahead = Cut::ahead;
  Bits* slots;                  // the thread's first, blockDim.x apart
  const T* rows[output_tiles];  // of the matrix
  int inner, warps, warp, lane;

  __device__ MatrixBlocks(const RowProductArguments& a, Bits* room)
      : slots(room + threadIdx.x),
        inner(static_cast<int>(a.inner)),
        warps(static_cast<int>(blockDim.x) / warp_size),
        warp(static_cast<int>(threadIdx.x) / warp_size),
        lane(static_cast<int>(threadIdx.x) % warp_size) {}

  __device__ int column(int block) const { return (warp + block * warps) * values_a_block + lane % 4 * Chunk<T>::size; }
  __device__ int blocks() const {  // of this warp
    return ((inner + values_a_block - 1) / values_a_block - warp + warps - 1) / warps;
  }
  __device__ Bits* slot(int tile, int turn) const { return slots + (turn * output_tiles + tile) * blockDim.x; }
  // A block is a group of copies.
  __device__ void ask(int turn, int block) const {
    const int at = column(block);
#pragma unroll
    for (int tile = 0; tile < output_tiles; ++tile) {
      if (at < inner) {
        copy_later(rows[tile] + at, slot(tile, turn));
      }
    }
    end_copies();
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
      ask(block, block);
    }
  }

  // This lane's chunks of x for a block.
  struct Own {
    Bits chunks[row_tiles][2];

    template <typename Rows>
    __device__ void read(const Rows& x, int lane, int column) {
      const int upper = lane / 4, lower = upper + tile_rows / 2;
#pragma unroll
      for (int tile = 0; tile < row_tiles; ++tile) {
        chunks[tile][0] = x.read(tile * tile_rows + upper, column);
        chunks[tile][1] = Cut::half ? Bits{} : x.read(tile * tile_rows + lower, column);
      }
    }
  };

  template <typename Rows>
  __device__ void multiply(const Rows& x, float (&sums)[output_tiles][row_tiles][tile_values]) {
    const int end = blocks();
    for (int start = 0; start < end; start += ahead) {
      Own own[Rows::near ? 1 : ahead];
#pragma unroll
      for (int block = 0; block < ahead && !Rows::near; ++block) {
        own[block].read(x, lane, column(start + block));
      }
#pragma unroll
      for (int block = 0; block < ahead; ++block) {
        Own& rows_of_block = own[Rows::near ? 0 : block];
        if (Rows::near) {
          rows_of_block.read(x, lane, column(start + block));
        }
        wait_for_copies<ahead - 1>();
#pragma unroll
        for (int output = 0; output < output_tiles; ++output) {
          const Bits matrix = column(start + block) < inner ? *slot(output, block) : Bits{};
#pragma unroll
          for (int tile = 0; tile < row_tiles; ++tile) {
            const Bits above = rows_of_block.chunks[tile][0], below = rows_of_block.chunks[tile][1];
            multiply_add<T>(sums[output][tile], above.x, below.x, above.y, below.y, matrix.x, matrix.y);
            multiply_add<T>(sums[output][tile], above.z, below.z, above.w, below.w, matrix.z, matrix.w);
          }
        }
        ask(block, start + block + ahead);
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

// What one result becomes once its sum is known. What is added waits as it lies in memory, so that no thread waits for
// it before it is needed.
template <typename T>
struct Result {
  T bias, up_bias, before;
  T* out = nullptr;  // none: there is no such result

  // Reads what does not depend on the kernels before.
  __device__ Result(const RowProductArguments& a, const Spot& spot, int64_t first_output)
      : bias(from_float<T>(0.0F)), up_bias(bias), before(bias) {
    const int each = a.gated ? tile_outputs / 2 : tile_outputs;
    const int64_t output = first_output + spot.column;
    if (spot.row >= a.rows || spot.column >= each || output >= a.outputs) {
      return;
    }
    out = static_cast<T*>(a.out) + spot.row * a.outputs + output;
    if (a.bias != nullptr) {
      const T* biases = static_cast<const T*>(a.bias) + output;
      bias = biases[0];
      up_bias = a.gated ? biases[a.outputs] : up_bias;
    }
  }

  __device__ void read_before(const RowProductArguments& a) {
    if (a.adds && out != nullptr) {
      before = *out;
    }
  }

  __device__ void write(const RowProductArguments& a, float total, float up) const {
    float value = total + to_float(bias);
    value = a.activates ? activate(a.activation, value) : value;
    value = a.gated ? value * (up + to_float(up_bias)) : value;
    *out = from_float<T>(value + to_float(before));
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
  norm_row(a, static_cast<const T*>(a.norm_weight), static_cast<const T*>(a.norm_bias),
           static_cast<const T*>(a.x) + blockIdx.x * a.inner, row, lane);
  for_lane_chunks<T>(inner, lane, [&](int column) { store(out + column, load(row + column)); });
}

// A norm's weight and bias on their way into shared memory, a group of copies.
template <typename T>
struct NormOnItsWay {
  const T* weight;
  const T* bias = nullptr;

  __device__ NormOnItsWay(const RowProductArguments& a, T* room) : weight(room) {
    if (a.norm_weight == nullptr) {
      return;
    }
    copy(static_cast<const T*>(a.norm_weight), static_cast<int>(a.inner), room);
    if (a.norm_bias != nullptr) {
      copy(static_cast<const T*>(a.norm_bias), static_cast<int>(a.inner), room + a.inner);
      bias = room + a.inner;
    }
    end_copies();
  }
  static __device__ void copy(const T* from, int values, T* to) {
    constexpr int size = Chunk<T>::size;
    for (int i = static_cast<int>(threadIdx.x) * size; i < values; i += static_cast<int>(blockDim.x) * size) {
      copy_later(from + i, to + i);
    }
  }
};

template <typename T, typename Cut, bool norms>
__global__ void __launch_bounds__(most_warps* warp_size, Cut::half ? 2 : 1)
    tensor_row_product_kernel(RowProductArguments a) {
  extern __shared__ __align__(16) unsigned char shared[];
  constexpr int row_tiles = Cut::row_tiles, output_tiles = Cut::output_tiles;
  constexpr int results = row_tiles * tile_values * warp_size;  // of a tile of outputs
  __shared__ float partial[most_warps][results];
  a = rows_of_block<T>(a, Cut::rows);
  Bits* const room = reinterpret_cast<Bits*>(shared);
  const int thread = static_cast<int>(threadIdx.x), inner = static_cast<int>(a.inner);
  const int tile_each = a.gated ? tile_outputs / 2 : tile_outputs;
  const Spot spot(thread < results ? thread : 0);
  const int64_t each = output_tiles * tile_each;
  int64_t first = blockIdx.x * each;
  T* const staged = reinterpret_cast<T*>(room + Cut::slots * blockDim.x);
  const int stride = norms ? static_cast<int>(row_stride(a.inner)) : inner;
  const Rows<T, norms> x{norms ? staged : static_cast<const T*>(a.x), stride, static_cast<int>(a.rows), inner};
  const NormOnItsWay<T> norm(a, staged + a.rows * stride);
  MatrixBlocks<T, Cut> matrix(a, room);
  if (first < a.outputs) {
    matrix.begin(a, first);
  }
  Result<T> own(a, spot, first);
  let_next_begin();
  wait_for_kernels_before();
  if constexpr (norms) {
    wait_for_copies<Cut::ahead>();  // not for the matrix
    __syncthreads();
    for (int row = matrix.warp; row < a.rows; row += matrix.warps) {
      norm_row(a, norm.weight, norm.bias, static_cast<const T*>(a.x) + row * a.inner, staged + row * stride,
               matrix.lane);
    }
    __syncthreads();
  }
  for (; first < a.outputs; first += gridDim.x * each) {
    own.read_before(a);  // on its way while the products are made
    float sums[output_tiles][row_tiles][tile_values] = {};
    matrix.multiply(x, sums);
    const Result<T> current = own;
    const int64_t next = first + gridDim.x * each;
    if (next < a.outputs) {
      matrix.begin(a, next);
      own = Result<T>(a, spot, next);
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
        Result<T> result = current;
        if (tile > 0 || index != thread) {
          result = Result<T>(a, Spot(index), first + tile * tile_each);
          result.read_before(a);
        }
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

// What a block needs of shared memory to norm rows, and for the matrix where it multiplies few.
int64_t norm_bytes(const RowProductArguments& a) {
  return (a.rows * row_stride(a.inner) + 2 * a.inner) * static_cast<int64_t>(sizeof(__half));
}
template <typename Cut>
int64_t matrix_bytes(const RowProductArguments& a) {
  return Cut::slots * warps_for(a.inner) * static_cast<int64_t>(warp_size * sizeof(Bits));
}
using FewRows = Cut<1, 1, 6, true>;

// What a block of the current device can ask for, beside what every one has.
int64_t shared_room() {
  constexpr int64_t taken = 2 * most_warps * tile_values * warp_size * int64_t{sizeof(float)};
  int device = 0, most = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  return most - taken < most_shared ? most - taken : most_shared;
}

template <typename T, typename Cut, bool norms = false>
void launch_tensor_row_product(const RowProductArguments& a, cudaStream_t stream) {
  const unsigned threads = static_cast<unsigned>(warps_for(a.inner) * warp_size);
  const auto bytes = static_cast<size_t>(matrix_bytes<Cut>(a) + (norms ? norm_bytes(a) : 0));
  const auto kernel = tensor_row_product_kernel<T, Cut, norms>;
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_room()));
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
  // The more rows, the more often each is read, unless a block takes more of the matrix.
  if (a.norm_weight != nullptr) {
    launch_tensor_row_product<T, FewRows, true>(a, stream);
  } else if (a.rows <= tile_rows / 2) {
    launch_tensor_row_product<T, FewRows>(a, stream);
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
  return arguments.rows > most_rows_normed_here ||
         norm_bytes(arguments) + matrix_bytes<FewRows>(arguments) > shared_room();
}

bool has_tensor_cores() {
  constexpr int first_version = 80;
  cudaFuncAttributes attributes{};
  return cudaFuncGetAttributes(&attributes, tensor_row_product_kernel<__half, FewRows, true>) == cudaSuccess &&
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

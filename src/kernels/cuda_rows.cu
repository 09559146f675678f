// Products of a few rows with a whole matrix, as decoding has them: all the time goes into reading the matrix once, so
// what stands before and after a product (norm, bias, activation, gate, addition) is done in the same kernel.
#include "kernels/cuda_activation.cuh"

namespace demask::kernels::cuda::launch {
namespace {

constexpr int product_threads = 256;
constexpr int product_warps = product_threads / warp_size;
constexpr int chunks_ahead = 4;  // on their way to a thread

// Read once and by nobody else.
template <typename T>
__device__ Chunk<T> load_streaming(const T* pointer) {
  const int4 bits = __ldcs(reinterpret_cast<const int4*>(pointer));
  return *reinterpret_cast<const Chunk<T>*>(&bits);
}

// The chunks of a lane in one stretch of the matrix's rows: of an output's own, and where it is gated of up's.
template <typename T, int streams>
struct Stretch {
  static constexpr int ahead = chunks_ahead / streams;
  static constexpr int width = ahead * warp_size * Chunk<T>::size;
  Chunk<T> chunks[streams][ahead];

  // Columns from `start` of output's row, `below` elements above its row of up.
  __device__ void read(const T* row, int64_t below, int start, int inner, int lane) {
#pragma unroll
    for (int k = 0; k < ahead; ++k) {
      const int column = start + (k * warp_size + lane) * Chunk<T>::size;
#pragma unroll
      for (int s = 0; s < streams; ++s) {
        chunks[s][k] = column < inner ? load_streaming(row + s * below + column) : Chunk<T>{};
      }
    }
  }

  // Adds the products with x [rows, inner], which is in shared memory, to the sums.
  template <int rows>
  __device__ void multiply(const T* x, int start, int inner, int lane, float (&sums)[streams][rows]) const {
    constexpr int size = Chunk<T>::size;
#pragma unroll
    for (int k = 0; k < ahead; ++k) {
      const int column = start + (k * warp_size + lane) * size;
      if (column < inner) {
#pragma unroll
        for (int r = 0; r < rows; ++r) {
          const Chunk<T> values = load(x + r * inner + column);
#pragma unroll
          for (int s = 0; s < streams; ++s) {
#pragma unroll
            for (int i = 0; i < size; ++i) {
              sums[s][r] += to_float(chunks[s][k].values[i]) * to_float(values.values[i]);
            }
          }
        }
      }
    }
  }
};

// Norms a row in shared memory in place; one warp.
template <typename T>
__device__ void norm_shared_row(const RowProductArguments& a, T* x, int lane) {
  const int inner = static_cast<int>(a.inner);
  const T* weight = static_cast<const T*>(a.norm_weight);
  const T* bias = static_cast<const T*>(a.norm_bias);
  float mean = 0;
  if (a.form == NormForm::layer) {
    for (int i = lane; i < inner; i += warp_size) {
      mean += to_float(x[i]);
    }
    mean = warp_sum(mean) / static_cast<float>(inner);
  }
  float squares = 0;
  for (int i = lane; i < inner; i += warp_size) {
    const float centred = to_float(x[i]) - mean;
    squares += centred * centred;
  }
  const float scale = rsqrtf(warp_sum(squares) / static_cast<float>(inner) + a.epsilon);
  for (int i = lane; i < inner; i += warp_size) {
    const float shift = bias == nullptr ? 0.0F : to_float(bias[i]);
    x[i] = from_float<T>((to_float(x[i]) - mean) * scale * to_float(weight[i]) + shift);
  }
}

// x [rows, inner] in shared memory, normed where asked; rows past the arguments' are zero.
template <typename T, int rows>
__device__ void stage_rows(const RowProductArguments& a, T* staged) {
  constexpr int size = Chunk<T>::size;
  const int inner = static_cast<int>(a.inner), given = static_cast<int>(a.rows) * inner;
  const T* x = static_cast<const T*>(a.x);
  for (int i = static_cast<int>(threadIdx.x) * size; i < rows * inner; i += product_threads * size) {
    store(staged + i, i < given ? load(x + i) : Chunk<T>{});
  }
  __syncthreads();
  if (a.norm_weight != nullptr) {
    for (int r = threadIdx.x / warp_size; r < static_cast<int>(a.rows); r += product_warps) {
      norm_shared_row(a, staged + r * inner, static_cast<int>(threadIdx.x % warp_size));
    }
    __syncthreads();
  }
}

// Bias, activation, gate and addition, for one output; the sums are the same in every lane, and lane r takes row r.
template <typename T, int streams, int rows>
__device__ void finish(const RowProductArguments& a, int64_t output, int lane, const float (&sums)[streams][rows]) {
  float own = 0, up = 0;
#pragma unroll
  for (int r = 0; r < rows; ++r) {
    own = r == lane ? sums[0][r] : own;
    up = r == lane ? sums[streams - 1][r] : up;
  }
  if (lane >= static_cast<int>(a.rows)) {
    return;
  }
  const T* bias = static_cast<const T*>(a.bias);
  own = activate(a.activation, own + (bias == nullptr ? 0.0F : to_float(bias[output])));
  if constexpr (streams == 2) {
    own *= up + (bias == nullptr ? 0.0F : to_float(bias[a.outputs + output]));
  }
  T* out = static_cast<T*>(a.out) + lane * a.outputs + output;
  *out = from_float<T>(own + (a.adds ? to_float(*out) : 0.0F));
}

// A warp an output at a time; each stretch of the matrix is asked for before the one ahead of it is used, the first
// before x is even here.
template <typename T, int rows, int streams>
__global__ void __launch_bounds__(product_threads) row_product_kernel(RowProductArguments a) {
  extern __shared__ __align__(16) unsigned char stage[];
  T* const x = reinterpret_cast<T*>(stage);
  const int lane = threadIdx.x % warp_size, inner = static_cast<int>(a.inner);
  const T* const weight = static_cast<const T*>(a.weight);
  const int64_t below = a.outputs * a.inner;  // from an output's row to that of up
  const int64_t warps = static_cast<int64_t>(gridDim.x) * product_warps;
  int64_t output = row_of_warp(product_warps);
  Stretch<T, streams> next;
  if (output < a.outputs) {
    next.read(weight + output * inner, below, 0, inner, lane);
  }
  stage_rows<T, rows>(a, x);
  for (; output < a.outputs; output += warps) {
    float sums[streams][rows] = {};
    for (int start = 0; start < inner; start += Stretch<T, streams>::width) {
      const Stretch<T, streams> current = next;
      const int following = start + Stretch<T, streams>::width;
      if (following < inner) {
        next.read(weight + output * inner, below, following, inner, lane);
      } else if (output + warps < a.outputs) {
        next.read(weight + (output + warps) * inner, below, 0, inner, lane);
      }
      current.multiply(x, start, inner, lane, sums);
    }
#pragma unroll
    for (int s = 0; s < streams; ++s) {
#pragma unroll
      for (int r = 0; r < rows; ++r) {
        sums[s][r] = warp_sum(sums[s][r]);
      }
    }
    finish<T>(a, output, lane, sums);
  }
}

template <typename T, int rows>
void launch_row_product(const RowProductArguments& a, cudaStream_t stream) {
  constexpr int64_t blocks_each = 4;  // blocks that a multiprocessor holds at a time, about
  const int64_t most = blocks_each * multiprocessors(), needed = (a.outputs + product_warps - 1) / product_warps;
  const auto blocks = static_cast<unsigned>(needed < most ? needed : most);
  const size_t bytes = static_cast<size_t>(rows * a.inner) * sizeof(T);
  if (a.gated) {
    row_product_kernel<T, rows, 2><<<blocks, product_threads, bytes, stream>>>(a);
  } else {
    row_product_kernel<T, rows, 1><<<blocks, product_threads, bytes, stream>>>(a);
  }
}

template <typename T>
void launch_row_product(const RowProductArguments& a, cudaStream_t stream) {
  switch (product_rows(a.rows)) {
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

int64_t product_rows(int64_t rows) {
  return rows <= 1 ? 1 : rows <= 2 ? 2 : rows <= 4 ? 4 : max_product_rows;
}

void row_product(Precision precision, const RowProductArguments& arguments, cudaStream_t stream) {
  with_type(precision, [&](auto type) { launch_row_product<decltype(type)>(arguments, stream); });
}

}  // namespace demask::kernels::cuda::launch

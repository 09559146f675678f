// The steps of a forward between products and attention: norm and rotation of heads, activations, gates.
#include "kernels/cuda_activation.cuh"
#include "kernels/cuda_early.cuh"

namespace demask::kernels::cuda::launch {
namespace {

constexpr int step_threads = 256;

template <typename T, int size>
__device__ Chunk<T> from_floats(const float (&values)[size]) {
  Chunk<T> chunk;
#pragma unroll
  for (int i = 0; i < size; ++i) {
    chunk.values[i] = from_float<T>(values[i]);
  }
  return chunk;
}

template <int size>
__device__ void load_floats(const float* pointer, float (&values)[size]) {
#pragma unroll
  for (int k = 0; k < size; k += Chunk<float>::size) {
    const Chunk<float> four = load(pointer + k);
#pragma unroll
    for (int i = 0; i < Chunk<float>::size; ++i) {
      values[k + i] = four.values[i];
    }
  }
}

template <typename T, int size>
__device__ void scale_by(const T* weight, float scale, float (&values)[size]) {
  const Chunk<T> chunk = load(weight);
#pragma unroll
  for (int i = 0; i < size; ++i) {
    values[i] *= scale * to_float(chunk.values[i]);
  }
}

// The sum of `squares` over the `lanes` neighbouring threads, a power of two, that share a head. For whole warps.
__device__ float head_scale(float squares, int lanes, int head_width, float epsilon) {
  for (int offset = lanes / 2; offset > 0; offset /= 2) {
    squares += __shfl_xor_sync(all_lanes, squares, offset);
  }
  return rsqrtf(squares / static_cast<float>(head_width) + epsilon);
}

// One thread takes one chunk of the first half of a head with its partner in the second half.
template <typename T>
__global__ void __launch_bounds__(step_threads)
    prepare_heads_kernel(T* qkv, HeadArguments heads, int64_t rows, int length, int64_t first_position) {
  constexpr int size = Chunk<T>::size;
  let_next_begin();
  wait_for_kernels_before();
  const int width = static_cast<int>(heads.head_width), half = width / 2;
  const int pairs = half / size;                                             // a head
  const int per_row = static_cast<int>(heads.queries + heads.keys) * pairs;  // values stay
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * step_threads + threadIdx.x;
  // Those past the end compute a last row's again, since shuffles need whole warps, and write nothing.
  const bool past_end = thread >= rows * per_row;
  const int64_t row = past_end ? rows - 1 : thread / per_row;
  const int within = static_cast<int>(thread % per_row);
  const int head = within / pairs, offset = (within - head * pairs) * size;
  T* first = qkv + row * (heads.queries + 2 * heads.keys) * width + head * width + offset;
  T* second = first + half;
  float x[size], y[size];
  to_floats(load(first), x);
  to_floats(load(second), y);
  if (heads.query_weight != nullptr || heads.key_weight != nullptr) {
    float squares = 0;
#pragma unroll
    for (int i = 0; i < size; ++i) {
      squares += x[i] * x[i] + y[i] * y[i];
    }
    const float scale = head_scale(squares, pairs, width, heads.epsilon);
    const T* weight = static_cast<const T*>(head < heads.queries ? heads.query_weight : heads.key_weight);
    if (weight != nullptr) {
      scale_by(weight + offset, scale, x);
      scale_by(weight + half + offset, scale, y);
    }
  }
  if (heads.cosine != nullptr) {
    const int64_t at = (first_position + row % length) * half + offset;
    float c[size], s[size];
    load_floats(heads.cosine + at, c);
    load_floats(heads.sine + at, s);
#pragma unroll
    for (int i = 0; i < size; ++i) {
      const float rotated = x[i] * c[i] - y[i] * s[i];
      y[i] = y[i] * c[i] + x[i] * s[i];
      x[i] = rotated;
    }
  }
  if (!past_end) {
    store(first, from_floats<T>(x));
    store(second, from_floats<T>(y));
  }
}

template <typename T, int size>
__device__ void add_bias(const T* bias, float (&values)[size]) {
  if (bias != nullptr) {
    float shift[size];
    to_floats(load(bias), shift);
#pragma unroll
    for (int i = 0; i < size; ++i) {
      values[i] += shift[i];
    }
  }
}

template <typename T, Activation form>
__global__ void __launch_bounds__(step_threads)
    bias_and_activation_kernel(T* x, const T* bias, int64_t chunks, int chunks_per_row) {
  constexpr int size = Chunk<T>::size;
  const int64_t index = static_cast<int64_t>(blockIdx.x) * step_threads + threadIdx.x;
  if (index >= chunks) {
    return;
  }
  float values[size];
  to_floats(load(x + index * size), values);
  add_bias(bias == nullptr ? nullptr : bias + index % chunks_per_row * size, values);
#pragma unroll
  for (int i = 0; i < size; ++i) {
    values[i] = activate<form>(values[i]);
  }
  store(x + index * size, from_floats<T>(values));
}

constexpr int gate_threads = 128;

// Blocks [rows, parts of a row].
template <typename T, Activation form>
__global__ void __launch_bounds__(gate_threads) gate_kernel(const T* x, const T* bias, T* out, int width) {
  constexpr int size = Chunk<T>::size;
  let_next_begin();
  wait_for_kernels_before();
  const int column = (static_cast<int>(blockIdx.y) * gate_threads + static_cast<int>(threadIdx.x)) * size;
  if (column >= width) {
    return;
  }
  const int64_t row = blockIdx.x;
  const T* source = x + row * 2 * width + column;
  float gates[size], ups[size];
  to_floats(load(source), gates);
  to_floats(load(source + width), ups);
  add_bias(bias == nullptr ? nullptr : bias + column, gates);
  add_bias(bias == nullptr ? nullptr : bias + width + column, ups);
#pragma unroll
  for (int i = 0; i < size; ++i) {
    gates[i] = activate<form>(gates[i]) * ups[i];
  }
  store(out + row * width + column, from_floats<T>(gates));
}

// Calls f with a value whose `form` is the activation.
template <Activation given>
struct FormConstant {
  static constexpr Activation form = given;
};
template <typename F>
void with_activation(Activation activation, F f) {
  switch (activation) {
    case Activation::gelu:
      return f(FormConstant<Activation::gelu>{});
    case Activation::gelu_tanh:
      return f(FormConstant<Activation::gelu_tanh>{});
    case Activation::silu:
      return f(FormConstant<Activation::silu>{});
  }
}

}  // namespace

void prepare_heads(Precision precision, void* qkv, const HeadArguments& heads, int64_t rows, int64_t length,
                   int64_t first_position, cudaStream_t stream) {
  with_type(precision, [&](auto type) {
    using T = decltype(type);
    const int64_t threads = rows * (heads.queries + heads.keys) * heads.head_width / 2 / Chunk<T>::size;
    launch_early(prepare_heads_kernel<T>, dim3(blocks_for(threads, step_threads)), step_threads, 0, stream,
                 static_cast<T*>(qkv), heads, rows, static_cast<int>(length), first_position);
  });
}

void bias_and_activation(Precision precision, Activation activation, void* x, const void* bias, int64_t rows,
                         int64_t width, cudaStream_t stream) {
  with_type(precision, [&](auto type) {
    using T = decltype(type);
    const int64_t per_row = width / Chunk<T>::size;
    with_activation(activation, [&](auto constant) {
      bias_and_activation_kernel<T, decltype(constant)::form>
          <<<blocks_for(rows * per_row, step_threads), step_threads, 0, stream>>>(
              static_cast<T*>(x), static_cast<const T*>(bias), rows * per_row, static_cast<int>(per_row));
    });
  });
}

void gate(Precision precision, Activation activation, const void* x, const void* bias, void* out, int64_t rows,
          int64_t width, cudaStream_t stream) {
  with_type(precision, [&](auto type) {
    using T = decltype(type);
    const dim3 blocks(static_cast<unsigned>(rows), blocks_for(width / Chunk<T>::size, gate_threads));
    with_activation(activation, [&](auto constant) {
      launch_early(gate_kernel<T, decltype(constant)::form>, blocks, gate_threads, 0, stream, static_cast<const T*>(x),
                   static_cast<const T*>(bias), static_cast<T*>(out), static_cast<int>(width));
    });
  });
}

}  // namespace demask::kernels::cuda::launch

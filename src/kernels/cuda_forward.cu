// The steps of a forward between products and attention: embedding or addition and norm, rotary positions, GELU.
#include "kernels/cuda_device.cuh"

namespace demask::kernels::cuda::launch {
namespace {

// Where norm_kernel finds a row. The sum of source, update, update_bias and position is normed, and becomes x where it
// differs from it.
template <typename T>
struct NormRow {
  T* x;
  const T* source;       // x itself, or a token's embedding
  const T* update;       // or none
  const T* update_bias;  // or none
  const T* position;     // or none
};

template <typename T>
__device__ NormRow<T> find_norm_row(const NormArguments& a, int64_t row, int width) {
  NormRow<T> found;
  found.x = static_cast<T*>(a.x) + row * width;
  found.update = a.update == nullptr ? nullptr : static_cast<const T*>(a.update) + row * width;
  found.update_bias = static_cast<const T*>(a.update_bias);
  found.source = found.x;
  found.position = nullptr;
  if (a.tokens != nullptr) {
    const int64_t at = row % a.length;
    const int64_t first = a.first_position == nullptr ? 0 : *a.first_position;
    // A row at a device-side position reads its token there too.
    const int64_t token = a.tokens[row / a.length * a.token_stride + first + at];
    found.source = static_cast<const T*>(a.token_embedding) + token * width;
    if (a.position_embedding != nullptr) {
      found.position = static_cast<const T*>(a.position_embedding) + (first + at) * width;
    }
  }
  return found;
}

template <typename T, int size>
__device__ void add_chunk(float (&values)[size], const T* pointer) {
  const Chunk<T> chunk = load(pointer);
#pragma unroll
  for (int i = 0; i < size; ++i) {
    values[i] += to_float(chunk.values[i]);
  }
}

// Rounds the values to what the next reader of `pointer` sees.
template <typename T, int size>
__device__ void store_rounded(T* pointer, float (&values)[size]) {
  Chunk<T> chunk;
#pragma unroll
  for (int i = 0; i < size; ++i) {
    chunk.values[i] = from_float<T>(values[i]);
    values[i] = to_float(chunk.values[i]);
  }
  store(pointer, chunk);
}

// Fills this lane's values; returns their sum.
template <typename T, int chunks, int size>
__device__ float read_norm_row(const NormRow<T>& row, int lane, int width, float (&values)[chunks][size]) {
  float sum = 0;
#pragma unroll
  for (int c = 0; c < chunks; ++c) {
    const int column = (c * warp_size + lane) * size;
    if (column < width) {
      const Chunk<T> chunk = load(row.source + column);
#pragma unroll
      for (int i = 0; i < size; ++i) {
        values[c][i] = to_float(chunk.values[i]);
      }
      if (row.update != nullptr) {
        add_chunk(values[c], row.update + column);
      }
      if (row.update_bias != nullptr) {
        add_chunk(values[c], row.update_bias + column);
      }
      if (row.position != nullptr) {
        add_chunk(values[c], row.position + column);
      }
      if (row.update != nullptr || row.source != row.x) {
        store_rounded(row.x + column, values[c]);
      }
#pragma unroll
      for (int i = 0; i < size; ++i) {
        sum += values[c][i];
      }
    }
  }
  return sum;
}

// Takes the mean off this lane's values; returns the sum of their squares.
template <int chunks, int size>
__device__ float centre(float (&values)[chunks][size], float mean, int lane, int width) {
  float squares = 0;
#pragma unroll
  for (int c = 0; c < chunks; ++c) {
    if ((c * warp_size + lane) * size < width) {
#pragma unroll
      for (int i = 0; i < size; ++i) {
        values[c][i] -= mean;
        squares += values[c][i] * values[c][i];
      }
    }
  }
  return squares;
}

template <typename T, int chunks>
__global__ void __launch_bounds__(small_threads) norm_kernel(NormArguments a) {
  constexpr int size = Chunk<T>::size;
  const int lane = threadIdx.x % warp_size;
  const int64_t row = row_of_warp(small_rows);
  if (row >= a.rows) {
    return;
  }
  const int width = static_cast<int>(a.width);
  float values[chunks][size];
  const float sum = read_norm_row(find_norm_row<T>(a, row, width), lane, width, values);
  const float mean = warp_sum(sum) / static_cast<float>(width);
  const float squares = centre(values, mean, lane, width);
  const float scale = rsqrtf(warp_sum(squares) / static_cast<float>(width) + a.epsilon);
  T* normed = static_cast<T*>(a.normed) + row * width;
#pragma unroll
  for (int c = 0; c < chunks; ++c) {
    const int column = (c * warp_size + lane) * size;
    if (column < width) {
      const Chunk<T> weight = load(static_cast<const T*>(a.weight) + column);
      Chunk<T> bias{};
      if (a.bias != nullptr) {
        bias = load(static_cast<const T*>(a.bias) + column);
      }
      Chunk<T> out;
#pragma unroll
      for (int i = 0; i < size; ++i) {
        const float shift = a.bias != nullptr ? to_float(bias.values[i]) : 0.0F;
        out.values[i] = from_float<T>(values[c][i] * scale * to_float(weight.values[i]) + shift);
      }
      store(normed + column, out);
    }
  }
}

// One thread rotates one chunk of the first half of a head with its partner in the second half.
template <typename T>
__global__ void rotate_kernel(T* qkv, const float* cosine, const float* sine, int64_t rows, int length, int heads,
                              int head_width) {
  constexpr int size = Chunk<T>::size;
  const int half = head_width / 2;
  const int pairs = half / size;          // a head
  const int per_row = 2 * heads * pairs;  // queries and keys
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64_t row = thread / per_row;
  if (row >= rows) {
    return;
  }
  const int within = static_cast<int>(thread - row * per_row);
  const int head = within / pairs, offset = (within - head * pairs) * size;
  const int position = static_cast<int>(row % length);
  T* first = qkv + row * (3 * heads * head_width) + head * head_width + offset;
  T* second = first + half;
  Chunk<T> a = load(first), b = load(second);
  const float* c = cosine + position * half + offset;
  const float* s = sine + position * half + offset;
#pragma unroll
  for (int i = 0; i < size; ++i) {
    const float x = to_float(a.values[i]), y = to_float(b.values[i]);
    a.values[i] = from_float<T>(x * c[i] - y * s[i]);
    b.values[i] = from_float<T>(y * c[i] + x * s[i]);
  }
  store(first, a);
  store(second, b);
}

__device__ float gelu(float x) {
  return 0.5F * x * (1.0F + erff(x * 0.70710678118654752440F));
}

template <typename T>
__global__ void bias_gelu_kernel(T* x, const T* bias, int64_t chunks, int chunks_per_row) {
  constexpr int size = Chunk<T>::size;
  const int64_t index = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index >= chunks) {
    return;
  }
  Chunk<T> chunk = load(x + index * size);
  if (bias != nullptr) {
    const Chunk<T> shift = load(bias + index % chunks_per_row * size);
#pragma unroll
    for (int i = 0; i < size; ++i) {
      chunk.values[i] = from_float<T>(gelu(to_float(chunk.values[i]) + to_float(shift.values[i])));
    }
  } else {
#pragma unroll
    for (int i = 0; i < size; ++i) {
      chunk.values[i] = from_float<T>(gelu(to_float(chunk.values[i])));
    }
  }
  store(x + index * size, chunk);
}

template <typename T>
void launch_norm(const NormArguments& a, cudaStream_t stream) {
  const unsigned blocks = blocks_for(a.rows, small_rows);
  const int64_t chunks = (a.width / Chunk<T>::size + warp_size - 1) / warp_size;
  if (chunks <= 1) {
    norm_kernel<T, 1><<<blocks, small_threads, 0, stream>>>(a);
  } else if (chunks <= 2) {
    norm_kernel<T, 2><<<blocks, small_threads, 0, stream>>>(a);
  } else if (chunks <= 4) {
    norm_kernel<T, 4><<<blocks, small_threads, 0, stream>>>(a);
  } else {
    norm_kernel<T, max_norm_chunks><<<blocks, small_threads, 0, stream>>>(a);
  }
}

}  // namespace

void norm(Precision precision, const NormArguments& arguments, cudaStream_t stream) {
  with_type(precision, [&](auto type) { launch_norm<decltype(type)>(arguments, stream); });
}

void rotate(Precision precision, void* qkv, const float* cosine, const float* sine, int64_t rows, int64_t length,
            int64_t heads, int64_t head_width, cudaStream_t stream) {
  with_type(precision, [&](auto type) {
    using T = decltype(type);
    const int64_t threads = rows * heads * head_width / Chunk<T>::size;  // queries and keys, two chunks a thread
    rotate_kernel<T><<<blocks_for(threads, 256), 256, 0, stream>>>(static_cast<T*>(qkv), cosine, sine, rows,
                                                                   static_cast<int>(length), static_cast<int>(heads),
                                                                   static_cast<int>(head_width));
  });
}

void bias_gelu(Precision precision, void* x, const void* bias, int64_t rows, int64_t width, cudaStream_t stream) {
  with_type(precision, [&](auto type) {
    using T = decltype(type);
    const int64_t per_row = width / Chunk<T>::size;
    bias_gelu_kernel<T><<<blocks_for(rows * per_row, 256), 256, 0, stream>>>(
        static_cast<T*>(x), static_cast<const T*>(bias), rows * per_row, static_cast<int>(per_row));
  });
}

}  // namespace demask::kernels::cuda::launch

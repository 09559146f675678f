// Adding to the residual stream or beginning it with embeddings, and the norm of the sum.
#include "kernels/cuda_device.cuh"
#include "kernels/cuda_early.cuh"

namespace demask::kernels::cuda::launch {
namespace {

// Where norm_kernel finds a row. The sum of source, update, update_bias and position is normed, and becomes x where it
// differs from it.
template <typename T>
struct NormRow {
  T* x;
  const T* source;    // x itself, or a token's embedding
  const T* update;    // or none
  const T* position;  // or none
};

template <typename T>
__device__ NormRow<T> find_norm_row(const NormArguments& a, int64_t row, int width) {
  NormRow<T> found;
  found.x = static_cast<T*>(a.x) + row * width;
  found.update = a.update == nullptr ? nullptr : static_cast<const T*>(a.update) + row * width;
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

// The chunks of a row that are this lane's, as they lie in memory; all on their way at once, as nothing is written
// between these loads.
template <int lanes, typename T, int chunks>
__device__ void load_lane_chunks(const T* row, int lane, int width, int4 (&read)[chunks]) {
#pragma unroll
  for (int c = 0; c < chunks; ++c) {
    const int column = (c * lanes + lane) * Chunk<T>::size;
    read[c] = column < width ? *reinterpret_cast<const int4*>(row + column) : int4{};
  }
}

template <typename T>
__device__ Chunk<T> as_chunk(const int4& bits) {
  return *reinterpret_cast<const Chunk<T>*>(&bits);
}

template <typename T, int size>
__device__ void add_chunk(float (&values)[size], const Chunk<T>& chunk) {
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

// A lane's part of a vector that the model keeps for all rows. Short ones are asked for before the row is there, since
// no kernel writes them; of long ones the registers would cost more than that gains.
template <typename T, int lanes, int chunks>
class NormParameter {
 public:
  __device__ NormParameter(const void* vector, int lane, int width) : vector_(static_cast<const T*>(vector)) {
    if constexpr (asked_early) {
      if (vector_ != nullptr) {
        load_lane_chunks<lanes>(vector_, lane, width, read_);
      }
    }
  }

  __device__ bool is_there() const { return vector_ != nullptr; }

  __device__ Chunk<T> chunk(int c, int column) const {
    if constexpr (asked_early) {
      return as_chunk<T>(read_[c]);
    } else {
      return load(vector_ + column);
    }
  }

 private:
  static constexpr bool asked_early = chunks <= 2;
  const T* vector_;
  int4 read_[asked_early ? chunks : 1]{};
};

template <typename T, int lanes, int chunks>
struct NormParameters {
  NormParameter<T, lanes, chunks> update_bias, weight, bias;
};

// Fills the values of this lane, of so many that share the row; returns their sum.
template <int lanes, typename T, int chunks, int size>
__device__ float read_norm_row(const NormRow<T>& row, const NormParameters<T, lanes, chunks>& parameters, int lane,
                               int width, float (&values)[chunks][size]) {
  int4 source[chunks], update[chunks];
  load_lane_chunks<lanes>(row.source, lane, width, source);
  if (row.update != nullptr) {
    load_lane_chunks<lanes>(row.update, lane, width, update);
  }
  float sum = 0;
#pragma unroll
  for (int c = 0; c < chunks; ++c) {
    const int column = (c * lanes + lane) * size;
    if (column < width) {
      const Chunk<T> chunk = as_chunk<T>(source[c]);
#pragma unroll
      for (int i = 0; i < size; ++i) {
        values[c][i] = to_float(chunk.values[i]);
      }
      if (row.update != nullptr) {
        add_chunk(values[c], as_chunk<T>(update[c]));
      }
      if (parameters.update_bias.is_there()) {
        add_chunk(values[c], parameters.update_bias.chunk(c, column));
      }
      if (row.position != nullptr) {
        add_chunk(values[c], load(row.position + column));
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
template <int lanes, int chunks, int size>
__device__ float centre(float (&values)[chunks][size], float mean, int lane, int width) {
  float squares = 0;
#pragma unroll
  for (int c = 0; c < chunks; ++c) {
    if ((c * lanes + lane) * size < width) {
#pragma unroll
      for (int i = 0; i < size; ++i) {
        values[c][i] -= mean;
        squares += values[c][i] * values[c][i];
      }
    }
  }
  return squares;
}

// Over the threads that share a row, a warp or a block.
template <int lanes>
__device__ float sum_over_lanes(float x) {
  if constexpr (lanes == warp_size) {
    return warp_sum(x);
  } else {
    __shared__ float scratch[lanes / warp_size];
    return block_sum<lanes / warp_size>(x, scratch);
  }
}

template <typename T, int lanes, int chunks, int size>
__device__ void write_normed(const NormArguments& a, const NormParameters<T, lanes, chunks>& parameters, int64_t row,
                             int lane, float scale, const float (&values)[chunks][size]) {
  const int width = static_cast<int>(a.width);
  T* normed = static_cast<T*>(a.normed) + row * width;
#pragma unroll
  for (int c = 0; c < chunks; ++c) {
    const int column = (c * lanes + lane) * size;
    if (column < width) {
      const Chunk<T> weight = parameters.weight.chunk(c, column);
      Chunk<T> bias{};
      if (parameters.bias.is_there()) {
        bias = parameters.bias.chunk(c, column);
      }
      Chunk<T> out;
#pragma unroll
      for (int i = 0; i < size; ++i) {
        const float shift = parameters.bias.is_there() ? to_float(bias.values[i]) : 0.0F;
        out.values[i] = from_float<T>(values[c][i] * scale * to_float(weight.values[i]) + shift);
      }
      store(normed + column, out);
    }
  }
}

constexpr int block_lanes = 256;

// A warp a row, or where that is too wide for its registers, a block.
template <typename T, int lanes, int chunks>
__global__ void __launch_bounds__(lanes == warp_size ? small_threads : lanes) norm_kernel(NormArguments a) {
  // Wide rows are few where time is short, and the product that follows has a large matrix to ask for.
  if constexpr (lanes != warp_size) {
    let_next_begin();
  }
  const int lane = threadIdx.x % lanes;
  const int width = static_cast<int>(a.width);
  const NormParameters<T, lanes, chunks> parameters = {
      {a.update_bias, lane, width}, {a.weight, lane, width}, {a.bias, lane, width}};
  wait_for_kernels_before();
  let_next_begin();
  const int64_t row = lanes == warp_size ? row_of_warp(small_rows) : blockIdx.x;
  if (row >= a.rows) {
    return;
  }
  float values[chunks][Chunk<T>::size];
  const float sum = read_norm_row<lanes>(find_norm_row<T>(a, row, width), parameters, lane, width, values);
  if (!parameters.weight.is_there()) {
    return;
  }
  const float mean = a.form == NormKind::rms ? 0.0F : sum_over_lanes<lanes>(sum) / static_cast<float>(width);
  const float squares = centre<lanes>(values, mean, lane, width);
  const float scale = rsqrtf(sum_over_lanes<lanes>(squares) / static_cast<float>(width) + a.epsilon);
  write_normed<T, lanes>(a, parameters, row, lane, scale, values);
}

// A forward's first kernel begins after those before it, which write what some of its others read early.
template <typename T, int lanes, int chunks>
void launch_norm_kernel(const NormArguments& a, int64_t blocks, int threads, cudaStream_t stream) {
  const auto count = static_cast<unsigned>(blocks);
  if (a.tokens == nullptr) {
    launch_early(norm_kernel<T, lanes, chunks>, dim3(count), static_cast<unsigned>(threads), 0, stream, a);
  } else {
    norm_kernel<T, lanes, chunks><<<count, threads, 0, stream>>>(a);
  }
}

template <typename T, int chunks>
void launch_by_warps(const NormArguments& a, cudaStream_t stream) {
  launch_norm_kernel<T, warp_size, chunks>(a, blocks_for(a.rows, small_rows), small_threads, stream);
}

template <typename T, int chunks>
void launch_by_blocks(const NormArguments& a, cudaStream_t stream) {
  launch_norm_kernel<T, block_lanes, chunks>(a, a.rows, block_lanes, stream);
}

template <typename T>
void launch_norm(const NormArguments& a, cudaStream_t stream) {
  const int64_t chunks = a.width / Chunk<T>::size;
  if (chunks <= warp_size) {
    launch_by_warps<T, 1>(a, stream);
  } else if (chunks <= 2 * warp_size) {
    launch_by_warps<T, 2>(a, stream);
  } else if (chunks <= 4 * warp_size) {
    launch_by_warps<T, 4>(a, stream);
  } else if (chunks <= 8 * warp_size) {
    launch_by_warps<T, 8>(a, stream);
  } else if (chunks <= 2 * block_lanes) {
    launch_by_blocks<T, 2>(a, stream);
  } else if (chunks <= 4 * block_lanes) {
    launch_by_blocks<T, 4>(a, stream);
  } else {
    static_assert(max_norm_width / Chunk<T>::size <= 8 * block_lanes);
    launch_by_blocks<T, 8>(a, stream);
  }
}

}  // namespace

void norm(Precision precision, const NormArguments& arguments, cudaStream_t stream) {
  with_type(precision, [&](auto type) { launch_norm<decltype(type)>(arguments, stream); });
}

}  // namespace demask::kernels::cuda::launch

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

// The same bits, which the compiler takes apart no earlier than here: apart they need twice the registers, and a
// product that begins early needs what the norm leaves.
inline __device__ int4 used_now(int4 bits) {
  asm volatile("" : "+r"(bits.x), "+r"(bits.y), "+r"(bits.z), "+r"(bits.w));
  return bits;
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
      return as_chunk<T>(used_now(read_[c]));
    } else {
      return load(vector_ + column);
    }
  }

 private:
  static constexpr bool asked_early = chunks <= 3;
  const T* vector_;
  int4 read_[asked_early ? chunks : 1]{};
};

template <typename T, int lanes, int chunks>
struct NormParameters {
  NormParameter<T, lanes, chunks> update_bias, weight, bias;
};

// What is read of a row by a lane, of so many that share it.
template <typename T, int lanes, int chunks>
struct NormRead {
  NormRow<T> row;
  int4 source[chunks], update[chunks];

  __device__ void begin(int lane, int width) {
    load_lane_chunks<lanes>(row.source, lane, width, source);
    if (row.update != nullptr) {
      load_lane_chunks<lanes>(row.update, lane, width, update);
    }
  }
};

// Fills the values of this lane; returns their sum.
template <int lanes, typename T, int chunks, int size>
__device__ float read_norm_row(const NormRead<T, lanes, chunks>& read,
                               const NormParameters<T, lanes, chunks>& parameters, int lane, int width,
                               float (&values)[chunks][size]) {
  const NormRow<T>& row = read.row;
  float sum = 0;
#pragma unroll
  for (int c = 0; c < chunks; ++c) {
    const int column = (c * lanes + lane) * size;
    if (column < width) {
      const Chunk<T> chunk = as_chunk<T>(read.source[c]);
#pragma unroll
      for (int i = 0; i < size; ++i) {
        values[c][i] = to_float(chunk.values[i]);
      }
      if (row.update != nullptr) {
        add_chunk(values[c], as_chunk<T>(read.update[c]));
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

// Takes the mean off this lane's values; returns the sum of their squares. A compiler that may choose where a product
// is added unrounded chooses otherwise from kernel to kernel; fmaf leaves no choice, here and where rows are written.
template <int lanes, int chunks, int size>
__device__ float centre(float (&values)[chunks][size], float mean, int lane, int width) {
  float squares = 0;
#pragma unroll
  for (int c = 0; c < chunks; ++c) {
    if ((c * lanes + lane) * size < width) {
#pragma unroll
      for (int i = 0; i < size; ++i) {
        values[c][i] -= mean;
        squares = fmaf(values[c][i], values[c][i], squares);
      }
    }
  }
  return squares;
}

// Over the lanes that share a row, of a warp or a block; of several rows, whose sums do not wait for each other.
template <int lanes, int rows>
__device__ void sum_over_lanes(float (&x)[rows]) {
  if constexpr (lanes <= warp_size) {
#pragma unroll
    for (int offset = lanes / 2; offset > 0; offset /= 2) {
#pragma unroll
      for (float& own : x) {
        own += __shfl_xor_sync(all_lanes, own, offset);
      }
    }
  } else {
    static_assert(rows == 1);
    __shared__ float scratch[lanes / warp_size];
    x[0] = block_sum<lanes / warp_size>(x[0], scratch);
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
        out.values[i] = from_float<T>(fmaf(values[c][i] * scale, to_float(weight.values[i]), shift));
      }
      store(normed + column, out);
    }
  }
}

constexpr int block_lanes = 256, half_warp = warp_size / 2;

// For rows that nothing is added to: what needs no registers then.
__device__ NormArguments without_sum(NormArguments a) {
  a.update = a.update_bias = a.token_embedding = a.position_embedding = nullptr;
  a.tokens = a.first_position = nullptr;
  return a;
}
bool is_plain(const NormArguments& a) {
  return a.update == nullptr && a.update_bias == nullptr && a.tokens == nullptr;
}

// So many lanes share a row, of a warp or, where it is too wide for its registers, of a block; they take rows_each.
template <typename T, int lanes, int chunks, int rows_each, int threads, bool plain>
__global__ void __launch_bounds__(threads) norm_kernel(NormArguments given) {
  static_assert(plain || (rows_each == 1 && lanes >= warp_size));  // else a warp might add to its last row twice
  // The product that follows asks for its matrix while this waits for the kernels before.
  let_next_begin();
  const NormArguments a = plain ? without_sum(given) : given;
  const int lane = threadIdx.x % lanes;
  const int width = static_cast<int>(a.width);
  const NormParameters<T, lanes, chunks> parameters = {
      {a.update_bias, lane, width}, {a.weight, lane, width}, {a.bias, lane, width}};
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x) / lanes * rows_each;
  constexpr int rows_a_warp = lanes < warp_size ? warp_size / lanes * rows_each : rows_each;
  // Past the last row a warp's lanes compute that again and write what it has.
  const auto row_of = [&](int r) { return min(first + r, a.rows - 1); };
  NormRead<T, lanes, chunks> read[rows_each];
  if constexpr (plain) {
#pragma unroll
    for (int r = 0; r < rows_each; ++r) {
      read[r].row = find_norm_row<T>(a, row_of(r), width);
    }
  }
  wait_for_kernels_before();
  if (first / rows_a_warp * rows_a_warp >= a.rows) {
    return;
  }
#pragma unroll
  for (int r = 0; r < rows_each; ++r) {
    if constexpr (!plain) {
      read[r].row = find_norm_row<T>(a, row_of(r), width);
    }
    read[r].begin(lane, width);
  }
  float values[rows_each][chunks][Chunk<T>::size], means[rows_each], squares[rows_each];
#pragma unroll
  for (int r = 0; r < rows_each; ++r) {
    means[r] = read_norm_row<lanes>(read[r], parameters, lane, width, values[r]);
  }
  if (!plain && !parameters.weight.is_there()) {
    return;
  }
  sum_over_lanes<lanes>(means);
#pragma unroll
  for (int r = 0; r < rows_each; ++r) {
    const float mean = a.form == NormKind::rms ? 0.0F : means[r] / static_cast<float>(width);
    squares[r] = centre<lanes>(values[r], mean, lane, width);
  }
  sum_over_lanes<lanes>(squares);
#pragma unroll
  for (int r = 0; r < rows_each; ++r) {
    const float scale = rsqrtf(squares[r] / static_cast<float>(width) + a.epsilon);
    write_normed<T, lanes>(a, parameters, row_of(r), lane, scale, values[r]);
  }
}

template <typename T, int lanes, int chunks, int rows_each, int threads, bool plain>
void launch_norm_kernel(const NormArguments& a, cudaStream_t stream) {
  const unsigned blocks = blocks_for(a.rows, rows_each * (threads / lanes));
  const auto kernel = norm_kernel<T, lanes, chunks, rows_each, threads, plain>;
  if (a.tokens == nullptr) {
    launch_early(kernel, dim3(blocks), static_cast<unsigned>(threads), 0, stream, a);
  } else {  // a forward's first kernel begins after those before it, which write what some of its others read early
    kernel<<<blocks, threads, 0, stream>>>(a);
  }
}

// Rows of few chunks that nothing is added to: by large blocks where these run all at once, else two at a time.
template <typename T, int lanes, int chunks>
void launch_short(const NormArguments& a, cudaStream_t stream) {
  constexpr int most_at_once = 32;  // rows for each multiprocessor
  if (a.rows <= static_cast<int64_t>(most_at_once) * multiprocessors()) {
    launch_norm_kernel<T, lanes, chunks, 1, wide_threads, true>(a, stream);
  } else {
    launch_norm_kernel<T, lanes, chunks, 2, small_threads, true>(a, stream);
  }
}

template <typename T, int lanes, int chunks>
void launch_one_each(const NormArguments& a, cudaStream_t stream) {
  constexpr int threads = lanes == warp_size ? small_threads : lanes;
  if (is_plain(a)) {
    launch_norm_kernel<T, lanes, chunks, 1, threads, true>(a, stream);
  } else {
    launch_norm_kernel<T, lanes, chunks, 1, threads, false>(a, stream);
  }
}

template <typename T>
void launch_norm(const NormArguments& a, cudaStream_t stream) {
  const int64_t chunks = a.width / Chunk<T>::size;
  if (is_plain(a) && chunks <= warp_size) {
    launch_short<T, warp_size, 1>(a, stream);
  } else if (is_plain(a) && chunks <= 3 * half_warp) {  // of a warp's lanes, a quarter or more would have nothing to do
    launch_short<T, half_warp, 3>(a, stream);
  } else if (chunks <= warp_size) {
    launch_one_each<T, warp_size, 1>(a, stream);
  } else if (chunks <= 2 * warp_size) {
    launch_one_each<T, warp_size, 2>(a, stream);
  } else if (chunks <= 4 * warp_size) {
    launch_one_each<T, warp_size, 4>(a, stream);
  } else if (chunks <= 8 * warp_size) {
    launch_one_each<T, warp_size, 8>(a, stream);
  } else if (chunks <= 2 * block_lanes) {
    launch_one_each<T, block_lanes, 2>(a, stream);
  } else if (chunks <= 4 * block_lanes) {
    launch_one_each<T, block_lanes, 4>(a, stream);
  } else {
    static_assert(max_norm_width / Chunk<T>::size <= 8 * block_lanes);
    launch_one_each<T, block_lanes, 8>(a, stream);
  }
}

}  // namespace

void norm(Precision precision, const NormArguments& arguments, cudaStream_t stream) {
  with_type(precision, [&](auto type) { launch_norm<decltype(type)>(arguments, stream); });
}

}  // namespace demask::kernels::cuda::launch

// What products of a few rows are made of, whichever cores multiply: loads of the matrix, and rows normed in shared
// memory.
#pragma once

#include "kernels/cuda_device.cuh"

namespace demask::kernels::cuda::launch {

// A chunk as it lies in memory: the compiler gives each 16-bit value of a Chunk that waits a register of its own.
using Bits = int4;

// Read once and by nobody else.
template <typename T>
__device__ Bits load_streaming(const T* pointer) {
  return __ldcs(reinterpret_cast<const Bits*>(pointer));
}

// Calls f(column) for the chunks of a row that are this lane's.
template <typename T, typename F>
__device__ void for_lane_chunks(int inner, int lane, F f) {
#pragma unroll 2
  for (int column = lane * Chunk<T>::size; column < inner; column += warp_size * Chunk<T>::size) {
    f(column);
  }
}

// A row that a lane holds its chunks of, `most` at most: all are asked for at once, and none is read again.
template <typename T, int most>
struct HeldRow {
  Chunk<T> chunks[most] = {};
  int inner, lane;

  __device__ HeldRow(const T* source, int inner_, int lane_) : inner(inner_), lane(lane_) {
    for_each([&](int column, Chunk<T>& own) { own = load(source + column); });
  }

  // Calls f(column, chunk) for the chunks that are this lane's.
  template <typename F>
  __device__ void for_each(F f) {
#pragma unroll
    for (int k = 0; k < most; ++k) {
      const int column = (k * warp_size + lane) * Chunk<T>::size;
      if (column < inner) {
        f(column, chunks[k]);
      }
    }
  }
};

// A row of which every lane holds `count` chunks: no chunk waits for a branch.
template <typename T, int count>
struct WholeRow {
  static constexpr int inner = count * warp_size * Chunk<T>::size;
  Bits chunks[count];
  int lane;

  __device__ WholeRow(const T* source, int lane_) : lane(lane_) {
#pragma unroll
    for (int k = 0; k < count; ++k) {
      chunks[k] = *reinterpret_cast<const Bits*>(source + (k * warp_size + lane) * Chunk<T>::size);
    }
  }

  template <typename F>
  __device__ void for_each(F f) const {
#pragma unroll
    for (int k = 0; k < count; ++k) {
      Chunk<T> own = *reinterpret_cast<const Chunk<T>*>(&chunks[k]);
      f((k * warp_size + lane) * Chunk<T>::size, own);
    }
  }
};

// A row in shared memory, of any length.
template <typename T>
struct SharedRow {
  const T* values;
  int inner, lane;

  template <typename F>
  __device__ void for_each(F f) const {
    for_lane_chunks<T>(inner, lane, [&](int column) {
      Chunk<T> own = load(values + column);
      f(column, own);
    });
  }
};

// Norms a row into `out`; one warp. shift_of(column) is the norm's bias there.
template <typename T, typename Row, typename ShiftOf>
__device__ void norm_values_by(const RowProductArguments& a, const T* weight, ShiftOf shift_of, Row& row, T* out) {
  constexpr int size = Chunk<T>::size;
  float mean = 0;
  if (a.form == NormKind::layer) {
    row.for_each([&](int, const Chunk<T>& own) {
      float sum = 0;
#pragma unroll
      for (int i = 0; i < size; ++i) {
        sum += to_float(own.values[i]);
      }
      mean += sum;
    });
    mean = warp_sum(mean) / static_cast<float>(row.inner);
  }
  float squares = 0;
  row.for_each([&](int, const Chunk<T>& own) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < size; ++i) {
      const float centred = to_float(own.values[i]) - mean;
      sum = fmaf(centred, centred, sum);
    }
    squares += sum;
  });
  const float scale = rsqrtf(warp_sum(squares) / static_cast<float>(row.inner) + a.epsilon);
  row.for_each([&](int column, Chunk<T>& own) {
    const Chunk<T> gain = load(weight + column);
    const Chunk<T> shift = shift_of(column);
#pragma unroll
    for (int i = 0; i < size; ++i) {
      const float centred = (to_float(own.values[i]) - mean) * scale;
      own.values[i] = from_float<T>(fmaf(centred, to_float(gain.values[i]), to_float(shift.values[i])));
    }
    store(out + column, own);
  });
}

template <typename T, typename Row>
__device__ void norm_values(const RowProductArguments& a, const T* weight, const T* bias, Row& row, T* out) {
  norm_values_by(
      a, weight, [&](int column) { return bias == nullptr ? Chunk<T>{} : load(bias + column); }, row, out);
}

// Norms a row in shared memory in place; one warp.
template <typename T>
__device__ void norm_shared_row(const RowProductArguments& a, const T* weight, const T* bias, T* x, int lane) {
  const SharedRow<T> row{x, static_cast<int>(a.inner), lane};
  norm_values(a, weight, bias, row, x);
}

// Copies whole chunks into shared memory, by the block, several loads on their way before the first is stored.
template <typename T>
__device__ void stage(const T* source, int values, T* out) {
  constexpr int ahead = 3;
  const int count = values / Chunk<T>::size, threads = static_cast<int>(blockDim.x);
  const Bits* from = reinterpret_cast<const Bits*>(source);
  Bits* to = reinterpret_cast<Bits*>(out);
  for (int start = static_cast<int>(threadIdx.x); start < count; start += ahead * threads) {
    Bits read[ahead];
#pragma unroll
    for (int k = 0; k < ahead; ++k) {
      read[k] = start + k * threads < count ? from[start + k * threads] : Bits{};
    }
#pragma unroll
    for (int k = 0; k < ahead; ++k) {
      if (start + k * threads < count) {
        to[start + k * threads] = read[k];
      }
    }
  }
}

// The norm's weight and bias in shared memory, where they are staged, or where they are.
template <typename T>
struct StagedNorm {
  const T* weight;
  const T* bias;

  __device__ StagedNorm(const RowProductArguments& a, T* room, bool staged)
      : weight(static_cast<const T*>(a.norm_weight)), bias(static_cast<const T*>(a.norm_bias)) {
    const int inner = static_cast<int>(a.inner);
    if (!staged) {
      return;
    }
    stage(weight, inner, room);
    weight = room;
    if (bias != nullptr) {
      stage(bias, inner, room + inner);
      bias = room + inner;
    }
  }
};

// What a block multiplies, whose place in the grid's second direction says which `each` rows of x are its own.
template <typename T>
__device__ RowProductArguments rows_of_block(RowProductArguments a, int64_t each) {
  const int64_t first = blockIdx.y * each;
  a.x = static_cast<const T*>(a.x) + first * a.inner;
  a.out = static_cast<T*>(a.out) + first * a.outputs;
  a.rows = a.rows - first < each ? a.rows - first : each;
  return a;
}

// Queues the product on tensor cores, for 16-bit types where has_tensor_cores(). A row's sums have one order, however
// many rows there are and whether or not they are normed apart.
void tensor_row_product(Precision precision, const RowProductArguments& arguments, cudaStream_t stream);

// Whether tensor_row_product norms the rows in a kernel of its own, into arguments.normed, as each block would norm too
// many again.
bool norms_apart(const RowProductArguments& arguments);

// Whether the current device multiplies 16-bit types on tensor cores by instructions of compute capability 8.0.
bool has_tensor_cores();

}  // namespace demask::kernels::cuda::launch

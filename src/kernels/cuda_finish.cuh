// What follows a product in the same kernel, on sums that are still in a warpgroup's registers as
// kernels/cuda_tiles.cuh says: bias, activation, rotation of heads.
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/cuda_activation.cuh"

namespace demask::kernels::cuda::launch {

// What finishes the sums of a thread, which are of the two rows `row` and `row + 8` and of the columns `column + 8 j`
// and the next ones.
struct FinishArguments {
  const void* bias = nullptr;  // [outputs], or none
  int rows = 0, outputs = 0;
  const float* angles = nullptr;  // [positions, head_width / 2, 2]: cosine and sine
  int length = 1;                 // row r stands at position r % length
  int rotated = 0;                // columns from here on are values, which stay
};

// Two neighbouring values, as a thread holds, reads and writes them.
template <typename T>
__device__ uint32_t round_pair(float first, float second) {
  using Two = std::conditional_t<std::is_same_v<T, __half>, __half2, __nv_bfloat162>;
  Two two;
  if constexpr (std::is_same_v<T, __half>) {
    two = __floats2half2_rn(first, second);
  } else {
    two = __floats2bfloat162_rn(first, second);
  }
  return *reinterpret_cast<const uint32_t*>(&two);
}
template <typename T>
__device__ float2 unpack_pair(uint32_t pair) {
  if constexpr (std::is_same_v<T, __half>) {
    return __half22float2(*reinterpret_cast<const __half2*>(&pair));
  } else {
    return {__uint_as_float(pair << 16), __uint_as_float(pair & 0xFFFF0000U)};
  }
}
template <typename T>
__device__ uint32_t read_pair(const void* values, int64_t at) {
  return *reinterpret_cast<const uint32_t*>(static_cast<const T*>(values) + at);
}

// The bias of a thread's columns, read before its sums are there.
template <typename T, int columns>
struct ColumnBias {
  uint32_t values[columns / 8];
  __device__ ColumnBias(const FinishArguments& a, int column) {
#pragma unroll
    for (int j = 0; j < columns / 8; ++j) {
      const int at = min(column + 8 * j, a.outputs - 2);  // columns past the last are not written
      values[j] = a.bias == nullptr ? 0 : read_pair<T>(a.bias, at);
    }
  }
  __device__ void add_to(float (&sums)[columns / 2]) const {
#pragma unroll
    for (int j = 0; j < columns / 8; ++j) {
      const float2 both = unpack_pair<T>(values[j]);
      sums[4 * j] += both.x;
      sums[4 * j + 1] += both.y;
      sums[4 * j + 2] += both.x;
      sums[4 * j + 3] += both.y;
    }
  }
};

// Nothing but the bias. `Operands` of each of these are what a thread's sums need besides; asked for early, they are
// there when the sums are.
struct Plain {
  static constexpr bool is_activation = false;
  struct Operands {
    __device__ Operands(const FinishArguments& /*a*/, int /*row*/, int /*column*/) {}
  };
  template <int columns>
  static __device__ void finish(const FinishArguments& /*a*/, const Operands& /*operands*/, int /*column*/,
                                float (&/*sums*/)[columns / 2]) {}
};

// The exact GELU, to 5e-5 of its value: max(x, 0) - |x| Phi(-|x|). log2 Phi(-a) is a polynomial of degree 6, fitted
// over [0, 6] by Remez's exchange (largest error 6.5e-5); further out |x| Phi(-|x|) is below 1e-8 and taken as that
// at 6. CUDA's erff costs more than the product itself here. NaN stays NaN.
inline __device__ float gelu_of_sum(float x) {
  const float a = fminf(fabsf(x), 6.0F);
  float log2_tail = 2.29900633712532e-05F;
  log2_tail = fmaf(log2_tail, a, -0.0006111000548116863F);
  log2_tail = fmaf(log2_tail, a, 0.0071955653838813305F);
  log2_tail = fmaf(log2_tail, a, -0.05118533596396446F);
  log2_tail = fmaf(log2_tail, a, -0.4612719416618347F);
  log2_tail = fmaf(log2_tail, a, -1.1501742601394653F);
  log2_tail = fmaf(log2_tail, a, -1.000064730644226F);
  float tail, positive;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(tail) : "f"(log2_tail));
  asm("max.NaN.f32 %0, %1, 0f00000000;" : "=f"(positive) : "f"(x));
  return fmaf(-a, tail, positive);
}

template <Activation form>
struct Activated {
  static constexpr bool is_activation = true;
  using Operands = Plain::Operands;
  template <int columns>
  static __device__ void finish(const FinishArguments& /*a*/, const Operands& /*operands*/, int /*column*/,
                                float (&sums)[columns / 2]) {
#pragma unroll
    for (float& sum : sums) {
      if constexpr (form == Activation::gelu) {
        sum = gelu_of_sum(sum);
      } else {
        sum = activate<form>(sum);
      }
    }
  }
};

// A head's columns c and c + head_width / 2 are one pair, and both are in the same thread.
template <int head_width>
struct Rotated {
  static constexpr bool is_activation = false;
  static constexpr int half = head_width / 2, groups = head_width / 8;

  struct Operands {
    float4 angles[2][groups / 2];  // of a row, and of a column and the next: cosine, sine, cosine, sine
    __device__ Operands(const FinishArguments& a, int row, int column) {
      if (column >= a.rotated) {
        return;
      }
#pragma unroll
      for (int below = 0; below < 2; ++below) {
        const int position = min(row + 8 * below, a.rows - 1) % a.length;
        const float4* from = reinterpret_cast<const float4*>(a.angles + (position * half + column % 8) * 2);
#pragma unroll
        for (int j = 0; j < groups / 2; ++j) {
          angles[below][j] = from[4 * j];
        }
      }
    }
  };

  template <int columns>
  static __device__ void finish(const FinishArguments& a, const Operands& operands, int column,
                                float (&sums)[columns / 2]) {
    static_assert(columns % head_width == 0);
#pragma unroll
    for (int below = 0; below < 2; ++below) {
#pragma unroll
      for (int head = 0; head < columns / head_width; ++head) {
        if (column + head * head_width < a.rotated) {
#pragma unroll
          for (int j = 0; j < groups / 2; ++j) {
            const float4 angles = operands.angles[below][j];
            float* x = sums + 4 * (head * groups + j) + 2 * below;
            float* y = x + 4 * (groups / 2);
            const float x0 = x[0] * angles.x - y[0] * angles.y, x1 = x[1] * angles.z - y[1] * angles.w;
            y[0] = y[0] * angles.x + x[0] * angles.y;
            y[1] = y[1] * angles.z + x[1] * angles.w;
            x[0] = x0;
            x[1] = x1;
          }
        }
      }
    }
  }
};

}  // namespace demask::kernels::cuda::launch

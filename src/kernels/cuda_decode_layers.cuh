// What a block of the kernel of all layers (cuda_decode_layers.cu) holds of a layer, and where others send to it.
#pragma once

#include "kernels/cuda_cluster_product.cuh"
#include "kernels/cuda_decode.cuh"

namespace demask::kernels::cuda::launch {

template <int width_, int blocks_>
struct DecodePlan {
  static constexpr int width = width_, hidden = 4 * width, blocks = blocks_;
  using QueryKeyValue = ClusterPart<width, 3 * width / blocks, decode_warps>;
  using Projection = ClusterPart<width, width / blocks, decode_warps>;
  using Expand = ClusterPart<width, hidden / blocks, decode_warps>;
  using Contract = ClusterPart<hidden, width / blocks, decode_warps>;
  static constexpr int most_tiles = Expand::tiles_each;  // of a team
  static_assert(most_tiles >= QueryKeyValue::tiles_each && most_tiles >= Contract::tiles_each);
};

// Of a split's values, its largest score and total, in whole chunks.
__host__ __device__ constexpr int found_values(int64_t head_width) {
  return static_cast<int>(head_width) + 4;
}

// What all splits of a cluster's texts found.
__host__ __device__ inline size_t found_bytes(const DecodeLayersArguments& a) {
  return sizeof(float) * static_cast<size_t>(a.texts_each * a.attention.heads.queries * a.attention.splits *
                                             found_values(a.attention.heads.head_width));
}

// A norm's weight and bias, or zeros.
template <typename T, int width>
struct HeldNorm {
  T weight[width], bias[width];

  __device__ void ask(const DecodeNorm& norm) {
    constexpr int chunks = width / Chunk<T>::size;
    const int chunk = static_cast<int>(threadIdx.x) % chunks, part = static_cast<int>(threadIdx.x) / chunks;
    const void* source = part == 0 ? norm.weight : norm.bias;
    if (part < 2 && source != nullptr) {
      copy_later(static_cast<const T*>(source) + chunk * Chunk<T>::size,
                 (part == 0 ? weight : bias) + chunk * Chunk<T>::size);
    }
  }
};

// A block's shared memory. What each step sends has room of its own, as other blocks may be a step ahead.
template <typename T, typename Plan>
struct LayersMemory {
  Bits query_key_value[Plan::QueryKeyValue::slots * decode_threads];
  Bits projection[Plan::Projection::slots * decode_threads];
  Bits expand[Plan::Expand::slots * decode_threads];
  Bits contract[Plan::Contract::slots * decode_threads];
  HeldNorm<T, Plan::width> attention_norm, feed_forward_norm;
  T x[cluster_rows * Plan::QueryKeyValue::stride];
  T qkv[cluster_rows * 3 * Plan::width];
  T mixed[cluster_rows * Plan::Projection::stride];
  T attended[cluster_rows * Plan::Expand::stride];
  T hidden[cluster_rows * Plan::Contract::stride];
  float partial[decode_warps * Plan::most_tiles][cluster_results];
  DecodeLayer layers[max_decode_layers];
  Inbox x_inbox, qkv_inbox, found_inbox, attended_inbox, hidden_inbox;
};

// A head of one of a cluster's texts over a split of its keys.
struct AttentionUnit {
  int row, head, split;
};

// A matrix and what is added to its product, on their way for the next layer that needs them.
template <typename T, typename Part>
struct Step {
  HeldMatrix<T, Part> matrix;
  PairAddends<Part> bias;

  __device__ Step(Bits* room, const ClusterThread& thread) : matrix(room, thread) {}
  __device__ void ask(const DecodeLinear& linear, const ClusterThread& thread) {
    matrix.ask(linear.weight, thread.rank);
    bias.template read<T>(linear.bias, linear.bias != nullptr, thread);
  }
};

}  // namespace demask::kernels::cuda::launch

// Where a block of decoding's attention finds what it mixes, and how a head is read for it.
#pragma once

#include "kernels/cuda_device.cuh"

namespace demask::kernels::cuda::launch {

// The queries first_query .. first_query + count - 1 of one key head of one
// sequence, over one split of its keys.
template <typename T>
struct DecodeGroup {
  int first_query, count;  // among all heads of the sequence
  int part, split;         // of the key head's queries, of the keys
  int64_t sequence;
  int64_t number;    // among all sequences, key heads and parts
  const T* queries;  // [count, width]
  const T* key;      // the new token's
  const T* value;
  T* keys;  // [capacity, width]
  T* values;
};

// Blocks are numbered by sequence, key head, part of its queries and split.
template <typename T, int queries>
__device__ DecodeGroup<T> find_group(const DecodeArguments& a, int width) {
  const int each = static_cast<int>(a.heads.queries / a.heads.keys), parts = (each + queries - 1) / queries;
  const int splits = static_cast<int>(a.splits);
  DecodeGroup<T> found;
  found.split = static_cast<int>(blockIdx.x) % splits;
  found.number = static_cast<int>(blockIdx.x) / splits;
  found.part = static_cast<int>(found.number % parts);
  const int64_t key_head = found.number / parts % a.heads.keys;
  found.sequence = found.number / parts / a.heads.keys;
  const T* row = static_cast<const T*>(a.qkv) + found.sequence * (a.heads.queries + 2 * a.heads.keys) * width;
  found.first_query = static_cast<int>(key_head) * each + found.part * queries;
  found.count = min(queries, each - found.part * queries);
  found.queries = row + found.first_query * width;
  found.key = row + (a.heads.queries + key_head) * width;
  found.value = found.key + a.heads.keys * width;
  found.keys = static_cast<T*>(a.keys) + (found.sequence * a.heads.keys + key_head) * a.capacity * width;
  found.values = static_cast<T*>(a.values) + (found.sequence * a.heads.keys + key_head) * a.capacity * width;
  return found;
}

// A warp's copy of a head [width], divided by its root mean square where there is a weight, into shared memory.
template <typename T>
__device__ void read_head(const T* source, const T* weight, float epsilon, int width, int lane, float* out) {
  float scale = 1;
  if (weight != nullptr) {
    float squares = 0;
    for (int i = lane; i < width; i += warp_size) {
      const float x = to_float(source[i]);
      squares += x * x;
    }
    scale = rsqrtf(warp_sum(squares) / static_cast<float>(width) + epsilon);
  }
  for (int i = lane; i < width; i += warp_size) {
    out[i] = to_float(source[i]) * scale * (weight == nullptr ? 1.0F : to_float(weight[i]));
  }
}

// Component i of a head [width] at a position.
inline __device__ float rotated(const HeadArguments& heads, const float* head, int64_t position, int width, int i) {
  if (heads.cosine == nullptr) {
    return head[i];
  }
  const int half = width / 2, at = i < half ? i : i - half;
  const float c = heads.cosine[position * half + at], s = heads.sine[position * half + at];
  return i < half ? head[i] * c - head[i + half] * s : head[i] * c + head[i - half] * s;
}

}  // namespace demask::kernels::cuda::launch

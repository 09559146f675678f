// Attention in which every query sees every key. A row's powers and sums go through the keys in one order, whatever the
// number of texts and the queries that a block takes, so that its bits do not depend on what stands beside it.
#include "kernels/cuda_launch.h"

#ifdef DEMASK_CUDA_TILES
#include <algorithm>
#include <cmath>

#include "kernels/cuda_bidirectional_attention_relay.cuh"
#include "kernels/cuda_tile_maps.cuh"

namespace demask::kernels::cuda::launch {
namespace {

// All but how the work is divided.
AttentionWork work_of(const BidirectionalAttentionArguments& a) {
  AttentionWork work{};
  work.length = static_cast<int>(a.length);
  work.heads = static_cast<int>(a.heads);
  work.key_heads = static_cast<int>(a.key_heads);
  work.units_a_head = static_cast<int>(blocks_for(a.length, group_rows));
  work.parts = static_cast<int>(blocks_for(a.length, part_keys));
  work.scale = static_cast<float>(1 / (std::log(2.0) * std::sqrt(static_cast<double>(attention_head))));
  return work;
}

bool describe_qkv(Precision precision, const BidirectionalAttentionArguments& a, CUtensorMap& queries,
                  CUtensorMap& keys) {
  const int64_t columns = (a.heads + 2 * a.key_heads) * attention_head;
  return describe_tiles(precision, a.qkv, a.batch, a.length, columns, group_rows, queries) &&
         describe_tiles(precision, a.qkv, a.batch, a.length, columns, part_keys, keys);
}

template <typename T, typename Own>
bool launch_pieces(Precision precision, const BidirectionalAttentionArguments& a, int stages, cudaStream_t stream) {
  CUtensorMap queries, keys, out;
  if (!describe_qkv(precision, a, queries, keys) ||
      !describe_tiles(precision, a.mixed, a.batch, a.length, a.heads * attention_head, group_rows, out)) {
    return false;
  }
  AttentionWork work = work_of(a);
  if (!Own::crosses) {
    work.units_a_head = static_cast<int>(blocks_for(work.units_a_head, Own::groups)) * Own::groups;
  }
  work.units = work.units_a_head * static_cast<int>(a.batch * a.heads);
  work.pieces = static_cast<int>(blocks_for(work.units, Own::groups));
  work.stages = Own::alone ? std::min(stages, work.parts) : stages;
  const int bytes = AttentionRoom<Own>{nullptr, work.stages}.bytes();
  const auto kernel = bidirectional_attention_kernel<T, Own>;
  if (cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes) != cudaSuccess) {
    return false;
  }
  const int blocks = Own::alone || Own::crosses ? work.pieces : std::min(work.pieces, multiprocessors());
  launch_early(kernel, dim3(static_cast<unsigned>(blocks)), Own::threads, static_cast<size_t>(bytes), stream, queries,
               keys, out, work);
  return true;
}

template <typename T>
bool launch_relay(Precision precision, const BidirectionalAttentionArguments& a, cudaStream_t stream) {
  CUtensorMap queries, keys;
  if (!describe_qkv(precision, a, queries, keys)) {
    return false;
  }
  AttentionWork work = work_of(a);
  work.stages = std::min(most_relay_stages, work.parts);
  const int bytes = RelayRoom{nullptr, work.stages}.bytes();
  const auto kernel = relay_attention_kernel<T>;
  if (cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes) != cudaSuccess) {
    return false;
  }
  const auto units = static_cast<unsigned>(work.units_a_head * a.batch * a.heads);
  launch_early(kernel, dim3(units), relay_threads, static_cast<size_t>(bytes), stream, queries, keys,
               static_cast<T*>(a.mixed), work);
  return true;
}

// Microseconds on an H100 of a round of pieces: what it takes at all, and for each part of the keys.
struct RoundTime {
  double start, part;
  double of(double rounds, int64_t parts) const { return rounds * (start + part * static_cast<double>(parts)); }
};

// How many units a block takes at a time, and whether these may reach into the next head, or the one is relayed.
struct AttentionChoice {
  int groups = 1;
  bool crosses = false, relayed = false;
};

// By what was measured of each (bench/RESULTS.md): the more warpgroups share their keys, the faster, unless
// multiprocessors are left without work; then several take the parts of one unit's keys in turns. A row's bits are the
// same with all.
AttentionChoice fastest_division(const BidirectionalAttentionArguments& a) {
  constexpr RoundTime three_of_one{2.1, 2.2}, of_two{1.7, 1.15}, of_three{1.7, 1.55}, of_crossing{2.1, 1.65};
  const int64_t parts = blocks_for(a.length, part_keys), heads = a.batch * a.heads, at_once = multiprocessors();
  const int64_t units_a_head = blocks_for(a.length, group_rows);
  if (heads * units_a_head <= at_once) {
    return {1, false, parts > 1};
  }
  const auto pieces = [&](int64_t groups) { return heads * blocks_for(units_a_head, groups); };
  const auto time_of = [&](int64_t groups, const RoundTime& round) {
    return round.of(static_cast<double>(blocks_for(pieces(groups), at_once)), parts);
  };
  const double waves = static_cast<double>(pieces(1)) / static_cast<double>(3 * at_once);
  const double one = three_of_one.of(std::max(1.0, waves), parts);
  const double two = time_of(2, of_two), three = time_of(3, of_three);
  const double least = std::min({one, two, three});
  // Of two heads at most, in a round.
  if (units_a_head > 1 && blocks_for(heads * units_a_head, 3) <= at_once && of_crossing.of(1, parts) < least) {
    return {3, true};
  }
  return {one == least ? 1 : two == least ? 2 : 3, false};
}

template <typename T>
bool launch_attention(Precision precision, const BidirectionalAttentionArguments& a, cudaStream_t stream) {
  constexpr int shared_stages = 5, stages_of_three = 2;  // as many as there is room for
  const AttentionChoice choice = fastest_division(a);
  if (choice.relayed) {
    return launch_relay<T>(precision, a, stream);
  }
  if (choice.crosses) {
    return launch_pieces<T, AttentionDivision<3, true>>(precision, a, most_part_stages, stream);
  }
  switch (choice.groups) {
    case 3:
      return launch_pieces<T, AttentionDivision<3>>(precision, a, shared_stages, stream);
    case 2:
      return launch_pieces<T, AttentionDivision<2>>(precision, a, shared_stages, stream);
    default:
      break;
  }
  return launch_pieces<T, AttentionDivision<1>>(precision, a, stages_of_three, stream);
}

}  // namespace

bool bidirectional_attention(Precision precision, const BidirectionalAttentionArguments& a, cudaStream_t stream) {
  return precision == Precision::float16 ? launch_attention<__half>(precision, a, stream)
                                         : launch_attention<__nv_bfloat16>(precision, a, stream);
}

}  // namespace demask::kernels::cuda::launch

#else  // a compiler without these instructions

namespace demask::kernels::cuda::launch {

bool bidirectional_attention(Precision /*precision*/, const BidirectionalAttentionArguments& /*a*/,
                             cudaStream_t /*stream*/) {
  return false;
}

}  // namespace demask::kernels::cuda::launch

#endif

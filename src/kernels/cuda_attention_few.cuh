// Attention of one new token of few texts.
#pragma once

#include "kernels/cuda_launch.h"

namespace demask::kernels::cuda::launch {

// decode_attention where heads are of 64 values and neither normed nor rotated, and texts so few that the blocks of a
// head are a cluster; else false, and nothing is queued.
bool few_attention(Precision precision, const DecodeArguments& arguments, cudaStream_t stream);

}  // namespace demask::kernels::cuda::launch

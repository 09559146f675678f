// What follows the logits of a decoded token where they are many.
#pragma once

#include "kernels/cuda_launch.h"

namespace demask::kernels::cuda::launch {

// draw_next for a large vocabulary and few texts, in a kernel that begins early. False where it takes no such
// vocabulary, so many texts, such filters or this device, and nothing is queued.
bool draw_next_wide(Precision precision, const NextDrawArguments& arguments, cudaStream_t stream);

}  // namespace demask::kernels::cuda::launch

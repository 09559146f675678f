// Messages and paths of texts of few states whose patterns have few ways through spans of positions.
#pragma once

#include "kernels/cuda_launch.h"

namespace demask::kernels::cuda::launch {

// Whether there are such ways, and room for them in the shared memory of a block, whose most is given.
bool goes_by_spans(const PatternArguments& a, int most_bytes);

// Once weights are known: sends the messages of texts and finds their paths.
void launch_spans(Precision precision, const PatternArguments& a, cudaStream_t stream);

}  // namespace demask::kernels::cuda::launch

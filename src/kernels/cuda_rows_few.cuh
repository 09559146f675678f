// Products of up to eight rows on tensor cores.
#pragma once

#include "kernels/cuda_launch.h"

namespace demask::kernels::cuda::launch {

// tensor_row_product of few rows, whose norm if any is of the block's own; false where it takes no so many, rows so
// long or the device, and nothing is queued.
bool few_rows_product(Precision precision, const RowProductArguments& arguments, cudaStream_t stream);

// The same of one or two rows, of some widths and forms.
bool two_rows_product(Precision precision, const RowProductArguments& arguments, cudaStream_t stream);

}  // namespace demask::kernels::cuda::launch

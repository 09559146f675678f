// Kernels that begin while those queued before them still run (programmatic dependent launch, from compute capability
// 9.0 on), so that what they need of memory is on its way by then. Elsewhere they begin after them as kernels do.
#pragma once

#include <cuda_runtime.h>

namespace demask::kernels::cuda::launch {

// Lets the next kernel's blocks begin once every block of this one has come here or ended.
inline __device__ void let_next_begin() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// What the kernels before this one wrote can be read from here on, and what they read can be written. Some block of
// every kernel that launch_early queues must come here: then a kernel that has ended says so of all before it.
inline __device__ void wait_for_kernels_before() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Whether the kernel's code waits by itself: code compiled for older devices does not, on whichever it runs.
template <typename... Parameters>
bool waits_by_itself(void (*kernel)(Parameters...)) {
  constexpr int first_version = 90;
  cudaFuncAttributes attributes{};
  return cudaFuncGetAttributes(&attributes, kernel) == cudaSuccess && attributes.ptxVersion >= first_version;
}

// Queues a kernel that calls wait_for_kernels_before(). Errors are left to cudaGetLastError.
template <typename... Parameters>
void launch_early(void (*kernel)(Parameters...), dim3 blocks, unsigned threads, size_t shared_bytes,
                  cudaStream_t stream, Parameters... arguments) {
  // Kernels that divide a multiprocessor's memory between cache and shared memory in different ways do not overlap
  // there.
  cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared);
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = blocks;
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  config.attrs = &early;
  config.numAttrs = waits_by_itself(kernel) ? 1 : 0;
  static_cast<void>(cudaLaunchKernelEx(&config, kernel, arguments...));
}

}  // namespace demask::kernels::cuda::launch

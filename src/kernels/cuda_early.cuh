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

// How a kernel is queued; the blocks of a cluster follow each other in the grid's first direction.
struct EarlyLaunch {
  dim3 blocks;
  unsigned threads = 0;
  size_t shared_bytes = 0;
  cudaStream_t stream = nullptr;
  unsigned cluster = 1;
};

inline cudaLaunchAttribute cluster_attribute(unsigned blocks) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim.x = blocks;
  attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
  return attribute;
}

// Queues a kernel that calls wait_for_kernels_before(). Errors are left to cudaGetLastError.
template <typename... Parameters>
void launch_early(void (*kernel)(Parameters...), const EarlyLaunch& launch, Parameters... arguments) {
  // Kernels that divide a multiprocessor's memory between cache and shared memory in different ways do not overlap
  // there.
  cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared);
  cudaLaunchAttribute attributes[2]{};
  cudaLaunchConfig_t config{};
  config.gridDim = launch.blocks;
  config.blockDim = dim3(launch.threads);
  config.dynamicSmemBytes = launch.shared_bytes;
  config.stream = launch.stream;
  config.attrs = attributes;
  if (waits_by_itself(kernel)) {
    cudaLaunchAttribute& early = attributes[config.numAttrs++];
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
  }
  if (launch.cluster > 1) {
    attributes[config.numAttrs++] = cluster_attribute(launch.cluster);
  }
  static_cast<void>(cudaLaunchKernelEx(&config, kernel, arguments...));
}

template <typename... Parameters>
void launch_early(void (*kernel)(Parameters...), dim3 blocks, unsigned threads, size_t shared_bytes,
                  cudaStream_t stream, Parameters... arguments) {
  launch_early(kernel, EarlyLaunch{blocks, threads, shared_bytes, stream}, arguments...);
}

}  // namespace demask::kernels::cuda::launch

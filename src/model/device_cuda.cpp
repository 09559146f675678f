#include <ATen/ATen.h>
#include <ATen/cuda/CUDAEvent.h>
#include <c10/core/InferenceMode.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>

#include "core/error.h"
#include "kernels/cpu.h"
#include "model/device.h"

namespace demask {

int64_t cuda_device_count() {
  return c10::cuda::device_count();
}

WorksOn::WorksOn(at::Device device) {
  if (device.is_cuda()) {
    guard_ = std::make_shared<c10::cuda::CUDAGuard>(device);
  }
}

bool are_alike(at::Device one, at::Device other) {
  if (!one.is_cuda() || !other.is_cuda()) {
    return one.type() == other.type();
  }
  for (const cudaDeviceAttr attribute :
       {cudaDevAttrComputeCapabilityMajor, cudaDevAttrComputeCapabilityMinor, cudaDevAttrMultiProcessorCount}) {
    int of_one = 0, of_other = 0;
    const bool known = cudaDeviceGetAttribute(&of_one, attribute, one.index()) == cudaSuccess &&
                       cudaDeviceGetAttribute(&of_other, attribute, other.index()) == cudaSuccess;
    if (!known || of_one != of_other) {
      return false;
    }
  }
  return true;
}

void end_process_if_slow_to_end(at::Device device) {
  if (device.is_cuda()) {
    std::fflush(nullptr);
    std::_Exit(0);
  }
}

bool multiplies_bfloat16(at::Device device) {
  if (!device.is_cuda()) {
    return kernels::cpu::find(at::kBFloat16) != nullptr;
  }
  int major = 0;
  const cudaError_t status = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device.index());
  return status == cudaSuccess && major >= 8;
}

std::future<void> start_up(at::Device device) {
  if (!device.is_cuda()) {
    return {};
  }
  return std::async(std::launch::async, [device] {
    try {
      // The context, and what a first product sets up. LibTorch hands its library handles on from thread to thread.
      const c10::InferenceMode inference;
      const c10::cuda::CUDAGuard guard(device);
      const at::Tensor x = at::zeros({64, 64}, at::device(device).dtype(at::kBFloat16));
      at::mm(x, x);
      c10::cuda::device_synchronize();
    } catch (const std::exception&) {
      // The run meets it too, where it can be told.
    }
  });
}

void synchronize(at::Device device) {
  if (device.is_cuda()) {
    const c10::cuda::CUDAGuard guard(device);
    c10::cuda::device_synchronize();
  }
}

QueueMark::QueueMark(at::Device device) {
  if (device.is_cuda()) {
    const c10::cuda::CUDAGuard guard(device);
    const auto event = std::make_shared<at::cuda::CUDAEvent>();
    event->record(c10::cuda::getCurrentCUDAStream(device.index()));
    event_ = event;
  }
}

void QueueMark::wait() const {
  if (event_) {
    std::static_pointer_cast<at::cuda::CUDAEvent>(event_)->synchronize();
  }
}

void release_cached_memory(at::Device device) {
  if (device.is_cuda()) {
    const std::lock_guard<std::shared_mutex> alone(recordings());
    try {
      c10::cuda::CUDACachingAllocator::emptyCache();
    } catch (const std::exception&) {
      // A device that failed before has nothing to give.
    }
  }
}

int64_t free_memory_bytes(at::Device device) {
  if (!device.is_cuda()) {
    return host_memory_available_bytes();
  }
  const c10::cuda::CUDAGuard guard(device);
  size_t free = 0, total = 0;
  if (const cudaError_t status = cudaMemGetInfo(&free, &total); status != cudaSuccess) {
    fail(ExitCode::failed, "could not ask {} for its free memory: {}", device.str(), cudaGetErrorString(status));
  }
  return static_cast<int64_t>(free);
}

int64_t peak_memory_bytes(at::Device device, const std::function<void()>& work) {
  if (!device.is_cuda()) {
    return peak_host_memory_bytes(work);
  }
  namespace allocator = c10::cuda::CUDACachingAllocator;
  constexpr size_t all_pools = 0;
  at::empty({1}, at::device(device));  // a device that nothing was allocated on yet has no figures
  const int64_t before = allocator::getDeviceStats(device.index()).allocated_bytes[all_pools].current;
  allocator::resetPeakStats(device.index());
  work();
  return allocator::getDeviceStats(device.index()).allocated_bytes[all_pools].peak - before;
}

}  // namespace demask

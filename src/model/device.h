// Questions about devices, answered in one file with CUDA and one without, chosen by CMake.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <shared_mutex>
#include <string>

namespace demask {

// CUDA devices that LibTorch can use here; 0 without CUDA.
int64_t cuda_device_count();

// Makes a CUDA device the one that this thread's work goes to, as long as this lives. On the CPU nothing.
class WorksOn {
 public:
  explicit WorksOn(at::Device device);
  WorksOn(const WorksOn&) = delete;
  WorksOn& operator=(const WorksOn&) = delete;

 private:
  std::shared_ptr<void> guard_;  // LibTorch's
};

// Whether the same work gives the same bits on both: devices of one model, as far as they say.
bool are_alike(at::Device one, at::Device other);

// Held together by those who record a step as a CUDA graph, and alone by those whom no recording on another thread may
// meet: who gives memory back, which LibTorch does for all devices at once, and who copies from device to device.
std::shared_mutex& recordings();

// Begins to make `device` ready in the background, which on CUDA takes some tenths of a second; whoever uses the device
// meanwhile waits for it. The result must be kept until the process is done with it; waiting for it is never needed.
std::future<void> start_up(at::Device device);

// Ends the process with exit code 0 where tearing `device` down would take long: the driver and LibTorch's registries
// take some tenths of a second on CUDA. Otherwise returns. What was written must be flushed or synchronised before.
void end_process_if_slow_to_end(at::Device device);

// Whether `device` multiplies in bfloat16 itself: GPUs since compute capability 8.0, CPUs that demask has kernels for.
bool multiplies_bfloat16(at::Device device);

// Waits until all work queued on `device` is done.
void synchronize(at::Device device);

// A place in the work queued on a device, the end of it when this is made. On the CPU, where work is done when it is
// asked for, nothing.
class QueueMark {
 public:
  explicit QueueMark(at::Device device);

  // Waits until all work before it is done, whatever follows.
  void wait() const;

 private:
  std::shared_ptr<void> event_;
};

// Bytes that can still be allocated on `device`.
int64_t free_memory_bytes(at::Device device);

// Bytes of host memory that can still be used: what the kernel counts as available, within this process's control
// group.
int64_t host_memory_available_bytes();

// Gives memory that LibTorch keeps for reuse back to `device`.
void release_cached_memory(at::Device device);

// Bytes in use on `device` at the highest while `work` runs, beyond those in use before; 0 where the system does not
// say.
int64_t peak_memory_bytes(at::Device device, const std::function<void()>& work);

// The same for host memory.
int64_t peak_host_memory_bytes(const std::function<void()>& work);

// Whether `error` says that memory ran out, on the host or on a device.
bool is_out_of_memory(const std::exception& error);

// Whether `error` says that a CUDA device or a library of it failed other than by lack of memory, so that nothing more
// can be expected of the device.
bool is_device_failure(const std::exception& error);

// How LibTorch was built, and how many CUDA devices it can use here.
std::string libtorch_description();

}  // namespace demask

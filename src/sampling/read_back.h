// The ends of a batch, the same for every sampler: copies between the host and the device.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "sampling/noise.h"
#include "sampling/sample.h"

namespace demask {

// Copies a tensor of the host into one of the same shape on any device, without waiting for that.
void send(const at::Tensor& from, const at::Tensor& into);

// Tensors that the host fills anew for each batch. They lie side by side on the device, so that one copy brings all.
class BatchTensors {
 public:
  struct Part {
    std::vector<int64_t> sizes;
    at::ScalarType type = at::kLong;
  };

  // Memory of the host for all parts, to be filled and sent.
  class Draft {
   public:
    // Contiguous memory of the part with this number, of elements of its type.
    template <typename T>
    T* part(size_t number) const {
      return static_cast<T*>(static_cast<void*>(static_cast<std::byte*>(room_.data_ptr()) + (*begins_)[number]));
    }

   private:
    friend class BatchTensors;
    Draft(at::Tensor room, const std::vector<size_t>& begins) : room_(std::move(room)), begins_(&begins) {}

    at::Tensor room_;
    const std::vector<size_t>* begins_;  // of the tensors that it is for, which outlive it
  };

  BatchTensors(const std::vector<Part>& parts, at::Device device);

  // In the order of the parts.
  const std::vector<at::Tensor>& all() const { return tensors_; }

  // Undefined until it is written to.
  Draft draft() const;
  // Brings every part of it to the device, without waiting for that.
  void send(const Draft& draft) const;

 private:
  at::Tensor room_;             // of bytes
  std::vector<size_t> begins_;  // of each part, in bytes
  std::vector<at::Tensor> tensors_;
};

// Contiguous; on its way until the device is waited for.
at::Tensor on_host(const at::Tensor& x);

// tokens [B, T] int64 and self-confidence [B] float64, on any device; of on_host, once the device was waited for.
std::vector<DrawnSample> read_back(const std::vector<Stream>& streams, const at::Tensor& tokens,
                                   const at::Tensor& self_confidence);

}  // namespace demask

// What watches a run follows one device at a time, whatever number of them draws.
#pragma once

#include <cstdint>
#include <mutex>

#include "sampling/sample.h"

namespace demask {

// Lets several devices, each on a thread of its own, share an observer. It follows a batch from its beginning to its
// end, and of the batches that others complete meanwhile is told their size.
class FollowedDevice {
 public:
  // `observer` may be null, and must outlive this object.
  explicit FollowedDevice(Observer* observer) : observer_(observer) {}

  // What one of the devices tells.
  class View : public Observer {
   public:
    explicit View(FollowedDevice& shared) : shared_(shared) {}
    View(const View&) = delete;
    View& operator=(const View&) = delete;
    ~View() override;

    // For a sampler: null where nobody watches.
    Observer* pointer() { return shared_.observer_ == nullptr ? nullptr : this; }

    void on_batch(const BatchView& batch) override;
    void on_step(const StepView& view) override;
    bool reads_tensors() const override { return shared_.observer_->reads_tensors(); }
    void on_batch_done() override;

   private:
    bool is_followed() const { return shared_.followed_ == this; }

    FollowedDevice& shared_;
    int64_t samples_ = 0, tokens_ = 0;  // of the batch in flight
  };

 private:
  Observer* observer_;
  std::mutex mutex_;
  const View* followed_ = nullptr;
};

}  // namespace demask

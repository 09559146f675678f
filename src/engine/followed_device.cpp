#include "engine/followed_device.h"

namespace demask {

FollowedDevice::View::~View() {
  const std::lock_guard<std::mutex> lock(shared_.mutex_);
  if (is_followed()) {
    shared_.followed_ = nullptr;
  }
}

void FollowedDevice::View::on_batch(const BatchView& batch) {
  const std::lock_guard<std::mutex> lock(shared_.mutex_);
  samples_ = static_cast<int64_t>(batch.samples.size());
  tokens_ = batch.tokens;
  if (shared_.followed_ == nullptr) {
    shared_.followed_ = this;
  }
  if (is_followed()) {
    shared_.observer_->on_batch(batch);
  }
}

void FollowedDevice::View::on_step(const StepView& view) {
  const std::lock_guard<std::mutex> lock(shared_.mutex_);
  if (is_followed()) {
    shared_.observer_->on_step(view);
  }
}

void FollowedDevice::View::on_batch_done() {
  const std::lock_guard<std::mutex> lock(shared_.mutex_);
  if (is_followed()) {
    shared_.observer_->on_batch_done();
    shared_.followed_ = nullptr;
  } else {
    shared_.observer_->on_other_batch_done(samples_, tokens_);
  }
}

}  // namespace demask

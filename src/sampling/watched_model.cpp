#include "demask/sampling/watched_model.h"

#include <ATen/ATen.h>

#include <utility>

#include "demask/core/error.h"

namespace demask {
namespace {

class WatchedSession : public DecodingSession {
 public:
  WatchedSession(WatchedModel& watcher, std::unique_ptr<DecodingSession> session)
      : watcher_(watcher), session_(std::move(session)) {}

  at::Tensor append(const at::Tensor& tokens) override {
    at::Tensor logits = session_->append(tokens);
    watcher_.record(logits);
    return logits;
  }

 private:
  WatchedModel& watcher_;
  std::unique_ptr<DecodingSession> session_;
};

}  // namespace

WatchedModel::WatchedModel(LanguageModel& model, std::string name)
    : model_(model),
      name_(std::move(name)),
      broken_(at::zeros({}, at::TensorOptions(at::kBool).device(model.device()))) {}

at::Tensor WatchedModel::logits(const at::Tensor& tokens) {
  at::Tensor logits = model_.logits(tokens);
  record(logits);
  return logits;
}

std::unique_ptr<DecodingSession> WatchedModel::begin(int64_t batch, int64_t max_length) {
  return std::make_unique<WatchedSession>(*this, model_.begin(batch, max_length));
}

void WatchedModel::record(const at::Tensor& logits) {
  ++forwards_;
  // The largest of a row is NaN if any is, and infinite if the row is unusable; single -inf logits are a model's right.
  broken_ = broken_.logical_or(at::isfinite(logits.amax(-1)).logical_not().any());
}

void WatchedModel::check() {
  if (broken_.item<bool>()) {
    broken_ = at::zeros_like(broken_);
    fail(ExitCode::failed,
         "'{}' gave non-finite logits (NaN or infinity), so its samples were discarded. The weights may be damaged, or "
         "the "
         "precision too low: try --dtype=float32.",
         name_);
  }
}

}  // namespace demask

// Who watches a run: progress, the verbose and debug views, the live view.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "engine/engine.h"
#include "output/live_view.h"
#include "sampling/sample.h"

namespace demask {

// All observers of a run as one.
class Observers : public Observer {
 public:
  // Makes those that the settings ask for. `samples` says how many are to be drawn, and is none where the list is read
  // as it comes. Progress of such a list is shown only where it was asked for: a run of days would fill the logs of its
  // caller. The engine must outlive the observers.
  Observers(const Engine& engine, std::optional<int64_t> samples);

  // For a sampler: null where nobody watches.
  Observer* pointer() { return observers_.empty() ? nullptr : this; }

  void on_batch(const BatchView& batch) override;
  void on_step(const StepView& view) override;
  bool reads_tensors() const override;
  void on_batch_done() override;
  void on_other_batch_done(int64_t samples, int64_t tokens) override;

  // Leaves the terminal, once its last step was visible.
  void close();

 private:
  std::vector<std::unique_ptr<Observer>> observers_;
  LiveView* live_ = nullptr;  // one of them, where there is a live view
};

}  // namespace demask

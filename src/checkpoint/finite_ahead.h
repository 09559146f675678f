// A look at a training checkpoint's weights on another thread, while LibTorch is loaded, which it does not need.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "checkpoint/mapped_file.h"
#include "checkpoint/nanogpt_file.h"

namespace demask {

class FiniteAhead {
 public:
  // Reads the float32 weights, each storage once, up to `most_bytes` of them. What it cannot read, and what is not
  // finite, it leaves to whoever makes the model. To be called once.
  void look_through(const NanoGptFile& file, uint64_t most_bytes);

  // Whether a weight of this very file, unchanged, is float32 and has been found finite, in bfloat16 too. Of what is
  // still to be looked at it is not known. From any thread.
  bool knows(const std::string& weight, const MappedFile& file) const;

  // Looks at no more. From any thread.
  void stop() { stopped_ = true; }

 private:
  std::atomic<bool> stopped_{false};
  mutable std::mutex mutex_;
  std::optional<FileIdentity> looked_at_;
  std::set<std::string> finite_;  // names of weights
};

}  // namespace demask

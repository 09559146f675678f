// Patterns of a batch on the device that draws it, inside a step that can be recorded.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/pattern_tensors.h"
#include "pattern/token_automaton.h"

namespace demask {

struct Template;

// A table as the kernels read it, for so many outputs: edges that states of a group share become edges of each.
std::vector<int32_t> packed_pattern(const TokenAutomaton& automaton, int64_t outputs);

// What the texts of a batch need; none of them states where no text has a pattern.
kernels::PatternSizes pattern_sizes(const std::vector<const Template*>& texts, int64_t outputs);

// Whether a device is asked to draw texts of these sizes: bounds on the tables, in numbers of 4 bytes, and on what a
// text takes of weights and messages. Beyond, texts are drawn on the host.
inline constexpr int64_t most_table_numbers = int64_t{1} << 24, most_text_bytes = int64_t{1} << 27;
bool device_holds(const kernels::PatternSizes& sizes);

class DevicePatterns {
 public:
  DevicePatterns(const kernels::PatternSizes& sizes, int64_t outputs, at::Device device);

  // Whether batches of these sizes can be set.
  bool takes(const kernels::PatternSizes& sizes) const;
  void set(const std::vector<const Template*>& texts);

  const kernels::PatternTensors& tensors() const { return tensors_; }

 private:
  kernels::PatternSizes sizes_;
  int64_t outputs_;
  kernels::PatternTensors tensors_;
  std::vector<std::shared_ptr<const TokenAutomaton>> set_;  // the automata whose tables the device has, in their order
  std::vector<int64_t> begins_;                             // where
};

}  // namespace demask

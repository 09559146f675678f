// A model's folder and what its tensors are for, before any of them is read.
#pragma once

#include <optional>
#include <string>

#include "checkpoint/families/family.h"
#include "checkpoint/model_folder.h"
#include "checkpoint/weight_plan.h"

namespace demask {

class PlannedFolder {
 public:
  // Reads configuration and headers. Throws as open_model_folder does, but for weights that are not finite.
  explicit PlannedFolder(const std::string& path);

  const ModelFolder& folder() const { return folder_; }
  const Family& family() const { return family_; }
  const std::string& prefix() const { return prefix_; }  // of the tensors' names
  const TransformerDescription& description() const { return architecture_.description; }
  const std::optional<std::string>& dataset() const { return architecture_.dataset; }
  const WeightPlan& plan() const { return plan_; }

 private:
  void compare(const std::string& unused_head) const;

  ModelFolder folder_;
  const Family& family_;
  std::string prefix_;
  Architecture architecture_;
  WeightPlan plan_;
};

// True for the names of tensors that are no weights.
bool is_buffer(const Family& family, std::string_view name);

}  // namespace demask

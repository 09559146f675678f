#include "checkpoint/planned_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "checkpoint/compare_tensors.h"
#include "checkpoint/families/config_reader.h"
#include "checkpoint/families/families.h"
#include "core/error.h"
#include "core/text.h"

namespace demask {
namespace {

// The one that the file uses; the usual one where none fits, so that what is missing is named as users know it.
std::string find_prefix(const TensorNames& names, const ShapesByName& stored) {
  for (const std::string_view prefix : names.prefixes) {
    if (stored.count(fmt::format("{}{}", prefix, names.token_embedding)) != 0) {
      return std::string(prefix);
    }
  }
  return std::string(names.prefixes.front());
}

}  // namespace

bool is_buffer(const Family& family, std::string_view name) {
  return std::any_of(family.names.buffers.begin(), family.names.buffers.end(),
                     [&](std::string_view end) { return ends_with(name, end); });
}

PlannedFolder::PlannedFolder(const std::string& path)
    : folder_(path),
      family_(find_family(folder_.config(), folder_.config_path())),
      prefix_(find_prefix(family_.names, folder_.shapes())),
      architecture_(family_.read_config(ConfigReader(folder_.config(), folder_.config_path()))) {
  const std::string head = head_weight_name(family_, prefix_);
  bool& tied_head = architecture_.description.tied_head;
  tied_head = architecture_.tied_head.value_or(folder_.shapes().count(head) == 0);
  plan_ = plan_weights(family_, architecture_, prefix_);
  compare(tied_head ? head : "");
}

// `unused_head`: stored although the head is tied; empty otherwise.
void PlannedFolder::compare(const std::string& unused_head) const {
  NamedShapes expected = plan_.others;
  for (const PlannedTensor& planned : plan_.tensors) {
    for (const StoredSlice& slice : planned.slices) {
      expected.emplace_back(slice.name, slice.shape);
    }
  }
  ShapesByName found;
  for (const auto& [name, shape] : folder_.shapes()) {
    if (!is_buffer(family_, name) && name != unused_head) {
      found.emplace(name, shape);
    }
  }
  const std::string differences = compare_tensors(expected, found);
  if (!differences.empty()) {
    fail(ExitCode::bad_input, "model '{}': its tensors do not fit '{}'.{}", folder_.path(), folder_.config_path(),
         differences);
  }
  for (const auto& [name, shape] : expected) {
    static_cast<void>(folder_.file_of(name).element_type(name));  // refuses what demask does not read
  }
}

}  // namespace demask

// The families that demask knows, in one list.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "checkpoint/families/family.h"

namespace demask {

// A new family is a file beside this one, which defines `const Family& NAME_family()`, and a line here.
#define DEMASK_FAMILIES(X) \
  X(gpt2)                  \
  X(nanogpt)               \
  X(llama)                 \
  X(qwen2)                 \
  X(qwen3)                 \
  X(dream)                 \
  X(llada)                 \
  X(mdlm)

#define DEMASK_DECLARE(name) const Family& name##_family();
DEMASK_FAMILIES(DEMASK_DECLARE)
#undef DEMASK_DECLARE

// The family that a configuration names by its model_type and architectures. `path` names the file.
// Throws Error(bad_input) that lists what demask reads, where it is another.
const Family& find_family(const nlohmann::json& config, const std::string& path);

// The family of a description. Throws Error(failed) for a name that no family has.
const Family& family_of(const TransformerDescription& description);

}  // namespace demask

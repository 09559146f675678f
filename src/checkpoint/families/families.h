// The families that demask knows, in one list.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "checkpoint/families/family.h"

namespace demask {

// One in each file beside this one.
const Family& gpt2_family();
const Family& nanogpt_family();
const Family& llama_family();
const Family& qwen2_family();
const Family& qwen3_family();
const Family& dream_family();
const Family& llada_family();
const Family& mdlm_family();

// The family that a configuration names by its model_type and architectures. `path` names the file.
// Throws Error(bad_input) that lists what demask reads, where it is another.
const Family& find_family(const nlohmann::json& config, const std::string& path);

// The family of a description. Throws Error(failed) for a name that no family has.
const Family& family_of(const TransformerDescription& description);

}  // namespace demask

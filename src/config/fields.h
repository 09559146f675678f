// The one table of settings: names, types, ranges and help of all that a user can give, and what each is for a run.
// Strategies' own parameters come into it from sampling/strategies.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "config/literal.h"
#include "config/member.h"
#include "core/rule.h"

namespace demask {

// What a key is for a run: whether it stands among the settings that a run's header names, whether another run must
// agree in it to make the same samples, and whether a command needs it to make them again.
enum class Role {
  text,   // shapes the text: among the settings, must agree, needed
  place,  // says where something lies that is told by its content: among the settings, may differ, needed
  which,  // says which samples, where and for what: stands in the header by itself, needed
  shown,  // how the run is watched and stored: none of these
  cut     // how the work is cut up: none of these
};

bool is_setting_of_a_run(Role role);        // among the settings in a run's header
bool is_needed_for_the_samples(Role role);  // in a command that makes the same samples

// One key.
struct Field {
  std::string_view name;
  Member member;
  Rule rule;
  std::string_view group;
  Role role = Role::text;
  std::string help;
  std::string_view alias = {};                         // nanoGPT's own name for it
  std::function<bool(const Strategy&)> taken_by = {};  // none: by all strategies, or none of their business
  std::string strategies = {};  // those that take it, separated by ", "; empty where none is said
};

// Heading of the keys that belong to strategies and so to diffusion alone.
extern const std::string_view strategies_group;

// Every key once, groups together.
const std::vector<Field>& fields();

// By name or alias; null where there is none.
const Field* find_field(std::string_view name);

// The key whose name is the fewest edits away.
std::string_view nearest_name(std::string_view misspelt);

bool is_bool(const Field& field);
bool is_text(const Field& field);
bool can_be_none(const Field& field);

// What the key takes, in words that complete "must be ...".
std::string allowed_values(const Field& field);

Literal value_of(const Field& field, const Config& config);

// Sets the key. False, and nothing changes, where the value has the wrong type or is out of range.
[[nodiscard]] bool assign(const Field& field, const Literal& value, ParsedConfig& parsed);

}  // namespace demask

// The fields of the table of settings that strategies bring along: their own parameters, as their descriptions say.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "config/fields.h"
#include "core/rule.h"
#include "sampling/strategies/strategy.h"

namespace demask {

// Names of the strategies of which `holds` is true.
Choices names_where(const std::function<bool(const Strategy&)>& holds);

// The parameters that stand in every configuration, or those that do not, once each, under the heading `group`. One
// that several strategies have takes what any of them allows, and its help says what each means by it.
std::vector<Field> parameter_fields(std::string_view group, bool in_every_configuration);

}  // namespace demask

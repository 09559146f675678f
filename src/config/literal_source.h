// Literals as Python source.
#pragma once

#include <string>

#include "config/literal.h"

namespace demask {

// On one line: parse_literal gives the literal back unchanged.
std::string to_source(const Literal& literal);

}  // namespace demask

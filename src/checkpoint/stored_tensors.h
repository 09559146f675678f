// What files hold, as LibTorch's tensors: here the readers of files, which know no LibTorch, meet it.
#pragma once

#include <c10/core/ScalarType.h>

#include "core/element_type.h"

namespace demask {

at::ScalarType scalar_type(ElementType type);

// Throws Error(failed) for a type that no model has.
ElementType element_type(at::ScalarType type);

}  // namespace demask

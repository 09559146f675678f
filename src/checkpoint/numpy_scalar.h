// NumPy's scalars (numpy.int64(65), numpy.str_('a')) as pickles hold them: a call of numpy's `scalar` with a dtype and
// the value's bytes. They can be told without making the call.
#pragma once

#include <string_view>

#include "checkpoint/pickle.h"

namespace demask {

// True for the name of the function that pickles call for a scalar, in NumPy 1 and 2.
bool makes_numpy_scalar(std::string_view global);

// True for the result of the call numpy.dtype(...).
bool is_numpy_dtype(const PickleValue& value);

// Sets kind and content of `value` to the scalar's: a boolean, integer, big_integer, real or text. `dtype` is a call of
// numpy.dtype whose last item is the state that the pickle gave it. False, and `value` as it was, for any other dtype
// or bytes that do not fit it.
bool read_numpy_scalar(const PickleValue& dtype, const PickleValue& bytes, PickleValue& value);

}  // namespace demask

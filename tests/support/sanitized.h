// Whether this is a build under AddressSanitizer: the program then starts slowly, and memory that is freed stays in use.
#pragma once

namespace demask::testing {

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

}  // namespace demask::testing

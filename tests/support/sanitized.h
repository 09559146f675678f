// Whether this is a build under AddressSanitizer: the program then starts slowly, and memory that is freed stays in
// use. Where many runs take the same paths and only their numbers are compared, the other build compares them all.
#pragma once

namespace demask::testing {

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define DEMASK_CLANG_SANITIZES 1
#endif
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(DEMASK_CLANG_SANITIZES)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

}  // namespace demask::testing

// Memory that nobody needs for the moment, given back to the system.
#pragma once

namespace demask {

// What was freed, but the C library keeps for what may be allocated next, where it can. Worth it after work that took
// much memory for a while.
void return_freed_memory() noexcept;

// The pages of what the executable and its libraries only read: symbols, relocations, constants. Loading a library
// looks at nearly all of it and running it at little, which comes back from the file when it is looked at. Worth it
// after large libraries were loaded.
void return_constants_of_libraries() noexcept;

}  // namespace demask

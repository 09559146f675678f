// Memory that was freed, but that the C library keeps for what may be allocated next.
#pragma once

namespace demask {

// Gives it back to the system, where the C library can. Worth it after work that took much memory for a while.
void return_freed_memory() noexcept;

}  // namespace demask

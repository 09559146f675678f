// Unfinished files, and folders of such, that must not outlive the process: a signal that ends it removes those
// registered here.
#pragma once

#include <string>

namespace demask {

// Call before the file is created. Throws Error(failed) where the few places there are for such files are taken, or the
// path is too long.
void register_temporary(const std::string& path);

// Call once the file is gone or finished. A path that is not registered is left alone.
void unregister_temporary(const std::string& path) noexcept;

// Removes every registered file, and then every registered folder that is empty. Async-signal-safe.
void remove_temporaries() noexcept;

}  // namespace demask

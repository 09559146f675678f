// Text for the terminal that has to wait while a view has its screen.
#pragma once

#include <string_view>

namespace demask {

// From now on, text is kept.
void hold_output();

// Keeps `text`, to be written to the descriptor later; false where nothing is held, and the caller is to write it.
bool hold_back(int descriptor, std::string_view text);

// Writes what was kept, in order, and keeps no more. A terminal that takes it no longer is left alone.
void release_output() noexcept;

}  // namespace demask

// Work on a thread of its own.
#pragma once

#include <future>
#include <system_error>

#include "core/signals_blocked.h"

namespace demask {

// Begins `work` on another thread, from which signals are kept: they are for the one that draws. Where no thread is to
// be had, the work is done when its result is asked for. The future waits for the thread where it ends unasked.
template <typename Work>
auto in_background(const Work& work) {
  const SignalsBlocked blocked;  // inherited by the thread
  try {
    return std::async(std::launch::async, work);
  } catch (const std::system_error&) {
    return std::async(std::launch::deferred, work);
  }
}

}  // namespace demask

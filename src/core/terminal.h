// The terminal while a view draws on it: taken over and left again, however the process ends.
//
// There is one such view at a time. Its thread alone opens, writes and resumes; it must have all signals blocked, so
// that no handler waits for the very write that it interrupted.
#pragma once

#include <string_view>

namespace demask {

// A terminal to draw on and one that gives the keys (mostly the same), or -1 for no keys.
struct Terminal {
  int screen = -1;
  int keys = -1;
};

// Names the terminal, which resume_screen then takes over. Does nothing once restore_terminal was called.
void claim_terminal(const Terminal& terminal) noexcept;

enum class ScreenState {
  closed,  // left, or never claimed
  away,    // not taken over, or left for a stop of the process
  open,
};
ScreenState screen_state() noexcept;

// Where the screen is away and the process in the foreground: the alternate screen, the cursor hidden, keys as they
// are typed. Signals of the keyboard stay signals. Whether the screen was taken over.
bool resume_screen() noexcept;

// All of it in one go. False where the screen is not open, or the terminal is gone.
bool write_to_screen(std::string_view bytes) noexcept;

// Leaves the screen, where there is one: its former content, the cursor and the keyboard are as before when this
// returns, and nothing more is drawn.
void leave_screen() noexcept;

// As leave_screen, and for good, because the process is about to end. Async-signal-safe; keeps errno.
void restore_terminal() noexcept;

// As leave_screen, until allow_resuming: for a handler that stops the process. Async-signal-safe.
void suspend_screen() noexcept;
void allow_resuming() noexcept;

}  // namespace demask

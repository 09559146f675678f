// What signals do to a run. It asks between batches whether to stop; no unfinished file stays behind, and no terminal
// that a view draws on.
#pragma once

namespace demask {

// SIGINT, SIGTERM: before let_batches_finish, remove unfinished files and exit at once, with 130 or 143. After it, the
// first asks the run to stop after the batch in flight, or to give that up where it takes longer than a few seconds,
// and says so on stderr; the second ends the process as before. SIGPIPE, SIGHUP, SIGQUIT: remove unfinished files and
// end the process by that signal, so that `demask | head` ends quietly. SIGTSTP: stop, with the terminal as it was
// before. A signal other than SIGPIPE that the caller had ignored (nohup, background jobs of a script) stays ignored.
void install_signal_handlers();

// From now on there are samples to lose.
void let_batches_finish() noexcept;

// The number of the signal that asked the run to stop; 0 where none has.
int stop_signal() noexcept;

// A descriptor that can be read from as soon as a signal asked the run to stop, for those who wait in poll(); -1 before
// install_signal_handlers.
int stop_descriptor() noexcept;

// Whether that signal came so long ago that the batch in flight is to be given up.
bool stop_is_overdue() noexcept;

}  // namespace demask

// What signals do to a run. It asks between batches whether to stop; no unfinished file stays behind, and no terminal
// that a view draws on.
#pragma once

namespace demask {

// SIGINT, SIGTERM: the first asks the run to stop after the batch in flight and says so on stderr, the second removes
// unfinished files and exits at once, with 130 or 143. SIGPIPE, SIGHUP, SIGQUIT: remove unfinished files and end the
// process by that signal, so that `demask | head` ends quietly. SIGTSTP: stop, with the terminal as it was before. A
// signal other than SIGPIPE that the caller had ignored (nohup, background jobs of a script) stays ignored.
void install_signal_handlers();

// The number of the signal that asked the run to stop; 0 where none has.
int stop_signal() noexcept;

}  // namespace demask

// What signals do to a run. The samplers ask interrupted() between steps; no unfinished file stays behind.
#pragma once

namespace demask {

// SIGINT, SIGTERM: the first asks the run to stop at the next step, the second removes unfinished files and exits with
// 130 at once. SIGPIPE, SIGHUP: remove unfinished files and end the process by that signal, so that `demask | head`
// ends quietly. A SIGINT, SIGTERM or SIGHUP that the caller had ignored (nohup, background jobs of a script) stays
// ignored.
void install_signal_handlers();

// Whether SIGINT or SIGTERM has arrived.
bool interrupted() noexcept;

}  // namespace demask

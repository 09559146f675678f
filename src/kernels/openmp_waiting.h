// How the threads of LibTorch's OpenMP wait for each other, where that is GNU's.
//
// They spin for milliseconds before they sleep. That is quick while they have the cores to themselves; where other
// programs run, each thread that is preempted holds up its whole team, whose other threads spin meanwhile: two
// processes on two cores took a hundred times as long as one. GNU's OpenMP lets them sleep at once while it has more
// threads than there are cores (GOMP_SPINCOUNT in its manual). What the environment says is read before anything of
// demask runs, so this makes the threads more than the cores, by a team that sleeps for as long as they are not to
// spin.
#pragma once

#include <cstdint>

namespace demask::kernels {

// From the first call on, the threads of teams of `threads` do not spin, on a machine of `cores` for this process.
// Nothing happens where the user's OMP_WAIT_POLICY or GOMP_SPINCOUNT says how they are to wait, or under another
// OpenMP.
void let_openmp_sleep(int64_t threads, int64_t cores);

// From now on they spin while nothing preempts this process: for models whose work is LibTorch's own operations.
void let_openmp_spin_while_alone();

}  // namespace demask::kernels

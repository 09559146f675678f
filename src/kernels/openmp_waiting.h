// How the threads of LibTorch's OpenMP wait for each other, where that is GNU's.
//
// They spin for milliseconds before they sleep. That is quick while they have the cores to themselves; where other
// programs run, each thread that is preempted holds up its whole team, whose other threads spin meanwhile: two
// processes on two cores took a hundred times as long as one.
//
// The program loads LibTorch itself, so that its environment can say before how long they spin (GOMP_SPINCOUNT in GNU's
// manual): for a moment that most waits within one operation and between two fit in, and that costs little where a
// thread is preempted. It does so in app/carried_engine.cpp; then nothing of the following happens.
//
// In a library LibTorch has read the environment before anything of demask runs. GNU's OpenMP lets threads sleep at
// once while it has more than there are cores, so this makes them more, by a team that sleeps for as long as they are
// not to spin.
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

// What a program settles about its standard streams before it opens a file.
#pragma once

namespace demask {

// Opens those of the descriptors 0, 1 and 2 that are closed, so that no file of ours gets their number and is written
// into: reading such a stdin and writing to such a stdout fail with EBADF as before, and what is written to such a
// stderr vanishes. Makes reaching a limit on the size of files an error of the write (EFBIG) in place of a signal that
// ends the process.
void settle_standard_streams() noexcept;

}  // namespace demask

// Unit tests compute with two threads of demask's and one of LibTorch's wherever they run. References are many small
// operations: on sixteen cores, beside other tests, LibTorch's threads wait for each other a hundred times longer than
// they compute.
#include <ATen/Parallel.h>

#include <cstdlib>

namespace {

const bool settled = [] {
  ::setenv("OMP_NUM_THREADS", "2", /*overwrite=*/0);  // of demask's own
  at::set_num_threads(1);
  return true;
}();

}  // namespace

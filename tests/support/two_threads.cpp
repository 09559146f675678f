// Unit tests compute with two threads wherever they run. References are many small operations of LibTorch: on sixteen
// cores, beside other tests, its threads wait for each other a hundred times longer than they compute.
#include <ATen/Parallel.h>

#include <cstdlib>

namespace {

const bool settled = [] {
  ::setenv("OMP_NUM_THREADS", "2", /*overwrite=*/0);  // of demask's own threads
  const char* const asked = std::getenv("OMP_NUM_THREADS");
  at::set_num_threads(asked != nullptr && std::atoi(asked) == 1 ? 1 : 2);
  return true;
}();

}  // namespace

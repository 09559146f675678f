#include "app/doctor.h"

#include <string>

#include "tests/support/catch.h"

namespace demask {

TEST_CASE("The BLAS is told by the library that is loaded, before libraries that only stand for it") {
  const std::string openmp = "/usr/lib/x86_64-linux-gnu/openblas-openmp/libopenblas-r0.3.21.so";
  const std::string threads = "/usr/lib/x86_64-linux-gnu/openblas-pthread/libopenblasp-r0.3.21.so";
  const std::string reference = "/usr/lib/x86_64-linux-gnu/blas/libblas.so.3.11.0";
  CHECK(find_blas({"/lib/libc.so.6", reference, openmp}).library == openmp);
  CHECK(find_blas({openmp}).shares_threads);
  CHECK(!find_blas({threads}).shares_threads);
  CHECK(!find_blas({reference}).shares_threads);
  CHECK(find_blas({"/opt/intel/libmkl_core.so.2"}).shares_threads);
  CHECK(find_blas({"/lib/libc.so.6"}).library.empty());
}

TEST_CASE("What the machine gives is said for each part, with a rate that is not nothing") {
  const std::string text = doctor_text();
  INFO(text);
  for (const char* label : {"\nbuild ", "\nLibTorch ", "\ndriver ", "\ncpu ", "\ninstructions ", "\nthreads ",
                            "\nBLAS ", "\nproducts ", "\nfor more "}) {
    CHECK(text.find(label) != std::string::npos);
  }
  CHECK(text.find("float32 0 GFLOP") == std::string::npos);
}

}  // namespace demask

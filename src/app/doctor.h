// What this machine gives demask, looked at and measured.
#pragma once

#include <string>
#include <vector>

namespace demask {

// A line a fact: build and LibTorch, driver and devices with their free memory, instructions of the CPU, threads, BLAS,
// the rate of a product on each device, and what to install or set for more. Takes some tenths of a second, longer
// where CUDA starts.
std::string doctor_text();

// Which of these libraries is the BLAS that LibTorch calls, with what is to be said of its speed.
struct Blas {
  std::string library;          // the file that is loaded, links followed; empty where none is known
  bool shares_threads = false;  // with LibTorch: MKL, and OpenBLAS built on OpenMP
};
Blas find_blas(const std::vector<std::string>& loaded_libraries);

}  // namespace demask

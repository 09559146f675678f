// A place where LibTorch cannot be loaded, for what is to be answered without it.
#pragma once

#include <torch/version.h>

#include <string>

#include "tests/support/process.h"
#include "tests/support/sanitized.h"

namespace demask::testing {

// Files in the place of LibTorch's libraries that are none, so that whoever loads it fails. ld.so names the first.
class BrokenLibTorch {
 public:
  BrokenLibTorch() {
    const std::string version = std::to_string(TORCH_VERSION_MAJOR) + "." + std::to_string(TORCH_VERSION_MINOR);
    for (const std::string name : {"libtorch.so", "libtorch_cpu.so", "libc10.so"}) {
      for (const std::string& file : {name, name + "." + version}) {
        write_file(folder_ / file, "not a library");
      }
    }
  }

  const std::string& path() const { return folder_.path(); }

  // Under sanitizers the program is linked to LibTorch, and starts with it.
  ProcessOptions options() const {
    ProcessOptions options;
    if (!sanitized) {
      options.environment = {{"LD_LIBRARY_PATH", path()}};
    }
    return options;
  }

 private:
  TemporaryFolder folder_;
};

}  // namespace demask::testing

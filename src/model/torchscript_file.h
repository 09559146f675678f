// A TorchScript file, opened and checked: the module, and what the file says of it.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <cstdint>
#include <string>
#include <vector>

#include "model/language_model.h"
#include "model/load_model.h"

namespace demask {

struct CheckedModule {
  torch::jit::Module module;  // in evaluation mode; its code may run (torchscript_code.h)
  ModelInfo info;             // what can be known without running it
  int64_t n_head = 0;         // 0 where the file does not say
};

// Throws Error(bad_input) that names the file: not loadable, extra files that contradict the format, or code that does
// more than compute.
CheckedModule read_module(const std::string& path, at::Device device);

// Moves the module's tensors and the constants of its code to options.device, floating-point ones to options.dtype;
// other tensors, such as position ids, keep theirs. Throws Error(bad_input) that names a parameter which is not finite.
void convert_module(const std::string& path, torch::jit::Module& module, const LoadOptions& options);

// The one line of a LibTorch exception that says what went wrong, without C++ and TorchScript backtraces.
std::string reason_of(const std::exception& exception);

}  // namespace demask

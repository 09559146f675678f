// What the code of a TorchScript module may do: compute on tensors, the same each time, and nothing else.
#pragma once

#include <torch/csrc/jit/api/module.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace caffe2::serialize {
class ReadAdapterInterface;
}

namespace demask {

using ModuleFile = std::shared_ptr<caffe2::serialize::ReadAdapterInterface>;

// Reads an archive's records, before LibTorch loads it, for what would run while it does: LibTorch calls a module's
// __setstate__, and C++ code behind every torch.classes object. Throws Error(bad_input) that names the record, and what
// LibTorch throws where the file is no archive.
void refuse_code_that_runs_on_load(const std::string& path, const ModuleFile& file);

// Prepares the code of a loaded module, called or not, in its place:
// - refuses every operation that only has effects outside its tensors (torchscript_operations.h);
// - takes out what prints and warns;
// - sets the module to evaluation, and what its code leaves in training mode too (a constant train=True, as tracing
//   before eval() writes it): dropout, batch_norm;
// - refuses forward where it still draws random numbers.
// Returns what a user should know of it. Throws Error(bad_input) that names the operation.
std::vector<std::string> prepare_code(const std::string& path, torch::jit::Module& module);

// Visits the code of every method and function that came with the module, called or not.
void for_each_node(const torch::jit::Module& module, const std::function<void(torch::jit::Node&)>& visit);

// Whether forward's code writes to the module's attributes.
bool writes_attributes(const torch::jit::Module& module);

}  // namespace demask

#include "model/torchscript_model.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/runtime/print_handler.h>

#include <exception>
#include <map>
#include <utility>

#include "core/error.h"
#include "model/recognise_gpt.h"
#include "model/torchscript_code.h"
#include "model/torchscript_file.h"
#include "model/torchscript_module.h"

namespace demask {
namespace {

using torch::jit::Module;
using Trials = TorchScriptModule::Trials;

std::unique_ptr<TorchScriptModule> run_as_it_is(const std::string& path, CheckedModule checked,
                                                const LoadOptions& options, Trials trials) {
  convert_module(path, checked.module, options);
  return std::make_unique<TorchScriptModule>(path, checked, options, trials);
}

std::map<std::string, at::Tensor> parameters_by_name(const Module& module) {
  std::map<std::string, at::Tensor> parameters;
  for (const auto& parameter : module.named_parameters()) {
    parameters.emplace(parameter.name, parameter.value);
  }
  return parameters;
}

// Counts the writes to the module's tensors so far, which LibTorch keeps.
int64_t writes_to_tensors(const Module& module) {
  int64_t writes = 0;
  for (const at::Tensor& parameter : module.parameters()) {
    writes += parameter._version();
  }
  for (const at::Tensor& buffer : module.buffers()) {
    writes += buffer.defined() ? buffer._version() : 0;
  }
  return writes;
}

// Null where the module is no GPT. Uses the module up: it is converted to float32 and has run. The proposed parameters
// are its own tensors and are converted with it.
std::unique_ptr<Transformer> run_natively(const std::string& path, const CheckedModule& checked,
                                          NanoGptCheckpoint proposed, const LoadOptions& options) {
  if (writes_attributes(checked.module)) {
    return nullptr;  // what it gave once it may not give again
  }
  LoadOptions exact = options;
  exact.dtype = c10::promoteTypes(options.dtype, at::kFloat);
  exact.compile = false;
  exact.device = at::kCPU;
  const auto original = run_as_it_is(path, checked, exact, Trials::none);
  const int64_t writes = writes_to_tensors(checked.module);
  auto gpt = recognise_gpt(std::move(proposed), *original, checked.n_head, options.device, options.dtype);
  return writes_to_tensors(checked.module) == writes ? std::move(gpt) : nullptr;
}

}  // namespace

std::unique_ptr<LanguageModel> load_torchscript_model(const std::string& path, const LoadOptions& options) {
  // What prints is taken out of a module's code. Should LibTorch print all the same, stdout carries samples only.
  torch::jit::setPrintHandler([](const std::string&) {});
  LoadOptions as_it_is = options;
  as_it_is.dtype = options.module_dtype.value_or(options.dtype);
  if (!options.native) {
    return run_as_it_is(path, read_module(path, options.device), as_it_is, Trials::all);
  }
  CheckedModule checked = read_module(path, at::kCPU);
  if (auto proposed = propose_gpt(parameters_by_name(checked.module), checked.info)) {
    try {
      if (auto gpt = run_natively(path, checked, std::move(*proposed), options)) {
        return gpt;
      }
    } catch (const std::exception&) {
      // Whatever it was, out of memory for the comparison too, the module may run as it is, or say what is wrong.
    }
    // Code that has run keeps its constants as they were then, so the file is read once more.
    checked = read_module(path, options.device);
  } else if (!options.device.is_cpu()) {
    checked = read_module(path, options.device);
  }
  if (as_it_is.dtype == at::kChar) {
    fail(ExitCode::bad_usage,
         "dtype='int8': '{}' is a TorchScript module that demask does not run natively, and its operations are "
         "LibTorch's, which have none in int8. Use --dtype=float32.",
         path);
  }
  return run_as_it_is(path, std::move(checked), as_it_is, Trials::all);
}

}  // namespace demask

#include "model/load_model.h"

#include <ATen/ATen.h>

#include "checkpoint/archive.h"
#include "checkpoint/model_folder.h"
#include "checkpoint/nanogpt_weights.h"
#include "checkpoint/read_model.h"
#include "kernels/openmp_waiting.h"
#include "model/attention.h"
#include "model/torchscript_model.h"
#include "model/transformer.h"

namespace demask {

namespace {

std::unique_ptr<LanguageModel> load(const std::string& path, const LoadOptions& options) {
  const at::TensorOptions weights = options_of_weights(options.dtype, options.device);
  const KernelChoice kernels = kernels_for(options.dtype);
  if (is_model_folder(path)) {
    return std::make_unique<Transformer>(*open_model_folder(path, weights), std::string(), kernels);
  }
  if (Archive(path).is_torchscript()) {
    return load_torchscript_model(path, options);
  }
  return std::make_unique<Transformer>(*open_nanogpt(path, weights), std::string(), kernels);
}

}  // namespace

std::unique_ptr<LanguageModel> load_model(const std::string& path, const LoadOptions& options) {
  prefer_fast_products();
  std::unique_ptr<LanguageModel> model = load(path, options);
  auto* const native = dynamic_cast<Transformer*>(model.get());
  if (native != nullptr) {
    native->keep_batch_invariant(options.batch_invariant);
  }
  if (options.device.is_cpu() && (native == nullptr || !native->has_cpu_kernels())) {
    kernels::let_openmp_spin_while_alone();
  }
  return model;
}

}  // namespace demask

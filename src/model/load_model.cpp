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

std::unique_ptr<LanguageModel> load_native(const std::unique_ptr<WeightSource>& source, const LoadOptions& options) {
  if (options.on_known) {
    options.on_known(info_of(source->description(), source->dataset()));
  }
  return std::make_unique<Transformer>(*source, std::string(), kernels_for(options.dtype),
                                       options.forwards.value_or(many_forwards));
}

std::unique_ptr<LanguageModel> load(const std::string& path, const LoadOptions& options) {
  const at::TensorOptions weights = options_of_weights(options.dtype, options.device);
  if (is_model_folder(path)) {
    return load_native(open_model_folder(path, weights), options);
  }
  if (Archive(path).is_torchscript()) {
    return load_torchscript_model(path, options);
  }
  return load_native(open_nanogpt(path, weights, options.finite), options);
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

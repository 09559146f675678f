#include "model/load_model.h"

#include <ATen/ATen.h>

#include "checkpoint/archive.h"
#include "checkpoint/nanogpt_checkpoint.h"
#include "kernels/openmp_waiting.h"
#include "model/attention.h"
#include "model/gpt.h"
#include "model/torchscript_model.h"

namespace demask {

namespace {

std::unique_ptr<LanguageModel> load(const std::string& path, const LoadOptions& options) {
  if (Archive(path).is_torchscript()) {
    return load_torchscript_model(path, options);
  }
  return std::make_unique<Gpt>(read_nanogpt_checkpoint(
      path, [&](const at::Tensor& parameter) { return parameter.to(options.device, options.dtype); }));
}

}  // namespace

std::unique_ptr<LanguageModel> load_model(const std::string& path, const LoadOptions& options) {
  prefer_fast_products();
  std::unique_ptr<LanguageModel> model = load(path, options);
  const auto* const gpt = dynamic_cast<const Gpt*>(model.get());
  if (options.device.is_cpu() && (gpt == nullptr || !gpt->has_cpu_kernels())) {
    kernels::let_openmp_spin_while_alone();
  }
  return model;
}

}  // namespace demask

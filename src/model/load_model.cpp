#include "model/load_model.h"

#include <ATen/ATen.h>

#include "checkpoint/archive.h"
#include "checkpoint/nanogpt_checkpoint.h"
#include "model/attention.h"
#include "model/gpt.h"
#include "model/torchscript_model.h"

namespace demask {

std::unique_ptr<LanguageModel> load_model(const std::string& path, const LoadOptions& options) {
  choose_kernels();
  if (Archive(path).is_torchscript()) {
    return load_torchscript_model(path, options);
  }
  return std::make_unique<Gpt>(read_nanogpt_checkpoint(
      path, [&](const at::Tensor& parameter) { return parameter.to(options.device, options.dtype); }));
}

}  // namespace demask

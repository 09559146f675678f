#include "demask/model/load_model.h"

#include <ATen/ATen.h>

#include "demask/checkpoint/archive.h"
#include "demask/checkpoint/nanogpt_checkpoint.h"
#include "demask/model/attention.h"
#include "demask/model/gpt.h"
#include "demask/model/torchscript_model.h"

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

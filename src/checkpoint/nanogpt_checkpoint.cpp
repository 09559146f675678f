#include "checkpoint/nanogpt_checkpoint.h"

#include <fmt/format.h>

#include "checkpoint/finite_weights.h"
#include "core/text.h"

namespace demask {

at::Tensor NanoGptFile::read(const std::string& name, const ParameterConversion& convert) const {
  const at::Tensor parameter = archive_.read(tensors_.at(name), name);
  at::Tensor converted = convert ? convert(parameter) : parameter;
  check_finite(converted, parameter, fmt::format("checkpoint '{}': the weight {}", archive_.path(), quote(name)));
  return converted;
}

NanoGptCheckpoint read_nanogpt_checkpoint(const std::string& path, const ParameterConversion& convert) {
  const NanoGptFile file(path);
  NanoGptCheckpoint checkpoint;
  checkpoint.args = file.args();
  checkpoint.dataset = file.dataset();
  for (const std::string& name : file.names()) {
    checkpoint.parameters.emplace(name, file.read(name, convert));
  }
  return checkpoint;
}

}  // namespace demask

#include "checkpoint/nanogpt_checkpoint.h"

#include <fmt/format.h>

#include "checkpoint/finite_weights.h"
#include "core/text.h"

namespace demask {

void NanoGptFile::check(const at::Tensor& converted, const at::Tensor& stored, const std::string& name) const {
  check_finite(converted, stored, fmt::format("checkpoint '{}': the weight {}", archive_.path(), quote(name)));
}

at::Tensor NanoGptFile::read(const std::string& name, const ParameterConversion& convert) const {
  const at::Tensor stored = archive_.read(tensors_.at(name), name);
  at::Tensor converted = convert ? convert(stored) : stored;
  check(converted, stored, name);
  return converted;
}

at::Tensor NanoGptFile::look_at(const std::string& name, const ParameterConversion& convert, AsStored as_stored) const {
  const at::Tensor stored = archive_.look_at(tensors_.at(name), name);
  at::Tensor converted = convert ? convert(stored) : stored;
  if (as_stored == AsStored::unchecked || !converted.is_same(stored)) {
    check(converted, stored, name);
  }
  return converted;
}

at::Tensor NanoGptFile::look_at_rows(const std::string& name, int64_t first, int64_t count,
                                     const ParameterConversion& convert, AsStored as_stored) const {
  StoredTensor rows = tensors_.at(name);
  rows.offset += first * rows.strides.at(0);
  rows.sizes.at(0) = count;
  const at::Tensor stored = archive_.look_at(rows, name);
  at::Tensor converted = convert ? convert(stored) : stored;
  if (as_stored == AsStored::checked && converted.is_same(stored)) {
    return converted;
  }
  // A number that is not finite is told of by its place in the whole tensor.
  return is_finite_converted(converted, stored) ? converted : read(name, convert).narrow(0, first, count);
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

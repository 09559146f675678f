#include "demask/sampling/read_back.h"

#include <ATen/ATen.h>

#include "demask/core/error.h"

namespace demask {

void throw_if_interrupted(const std::function<bool()>& interrupted) {
  if (interrupted && interrupted()) {
    throw Error(ExitCode::interrupted, "interrupted");
  }
}

std::vector<Sample> read_back(int64_t first_index, const at::Tensor& tokens, const at::Tensor& self_confidence) {
  const at::Tensor host_tokens = tokens.to(at::kCPU).contiguous();
  const at::Tensor host_confidence = self_confidence.to(at::kCPU).contiguous();
  const int64_t length = host_tokens.size(1);
  const int64_t* row = host_tokens.data_ptr<int64_t>();
  std::vector<Sample> samples;
  for (int64_t b = 0; b < host_tokens.size(0); ++b, row += length) {
    samples.push_back(
        {first_index + b, std::vector<int64_t>(row, row + length), host_confidence.data_ptr<double>()[b]});
  }
  return samples;
}

}  // namespace demask

#include "engine/resolve.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <string_view>

#include "checkpoint/stored_tensors.h"
#include "config/devices.h"
#include "core/error.h"
#include "core/notice.h"
#include "model/device.h"
#include "text/word_edges.h"

namespace demask {
namespace {

at::Device cuda_device(int64_t number) {
  return {at::kCUDA, static_cast<at::DeviceIndex>(number)};
}

std::vector<at::Device> all_like_the_first(int64_t present) {
  std::vector<at::Device> devices;
  for (int64_t number = 0; number < present; ++number) {
    if (number == 0 || are_alike(cuda_device(0), cuda_device(number))) {
      devices.push_back(cuda_device(number));
    }
  }
  return devices;
}

}  // namespace

std::vector<at::Device> resolve_devices(const std::string& device) {
  const int64_t present = device == "cpu" ? 0 : cuda_device_count();
  if (device == "cpu" || (device == "auto" && present == 0)) {
    return {at::kCPU};
  }
  if (present == 0) {
    fail(ExitCode::bad_usage, "device='{}': no CUDA device can be used here ({}). Use --device=cpu or --device=auto.",
         device, libtorch_description());
  }
  const std::optional<std::vector<int64_t>> numbers = numbered_devices(device);
  if (!numbers) {
    return all_like_the_first(present);
  }
  std::vector<at::Device> devices;
  for (const int64_t number : *numbers) {
    if (number >= present) {
      fail(ExitCode::bad_usage,
           "device='{}': there is no cuda:{}. {}. Name those that are here, or give --device=cuda.", device, number,
           present == 1 ? "Only cuda:0 is here" : fmt::format("Only cuda:0 to cuda:{} are here", present - 1));
    }
    devices.push_back(cuda_device(number));
    if (!are_alike(devices.front(), devices.back())) {
      notice("{} and {} are GPUs of different models: which of them draws a sample shows in its last bits.",
             devices.front().str(), devices.back().str());
    }
  }
  return devices;
}

std::string name_of(const std::vector<at::Device>& devices) {
  std::string name;
  for (const at::Device device : devices) {
    name += name.empty() ? device.str() : fmt::format(",{}", device.index());
  }
  return name;
}

std::optional<at::ScalarType> named_dtype(Precision dtype) {
  switch (dtype) {
    case Precision::float32:
      return at::kFloat;
    case Precision::bfloat16:
      return at::kBFloat16;
    case Precision::float16:
      return at::kHalf;
    case Precision::int8:
      return at::kChar;
    case Precision::automatic:
      break;
  }
  return std::nullopt;
}

Dtypes resolve_dtype(Precision dtype, at::Device device, bool multiplies_bfloat16) {
  if (dtype == Precision::float16 && device.is_cpu()) {
    fail(ExitCode::bad_usage,
         "dtype='float16' needs CUDA: the CPU does not compute in it. Use --dtype=float32, or bfloat16 for speed.");
  }
  if (dtype == Precision::int8 && !device.is_cpu()) {
    fail(ExitCode::bad_usage,
         "dtype='int8' is for the CPU, whose kernels multiply in it. Use --device=cpu, or --dtype=bfloat16 on {}.",
         device.str());
  }
  if (dtype == Precision::automatic) {
    if (device.is_cuda()) {
      const at::ScalarType half = multiplies_bfloat16 ? at::kBFloat16 : at::kHalf;
      return {half, half};
    }
    return {multiplies_bfloat16 ? at::kBFloat16 : at::kFloat, at::kFloat};
  }
  if (dtype == Precision::bfloat16 && device.is_cuda() && !multiplies_bfloat16) {
    notice(
        "{} is too old for bfloat16 (it takes compute capability 8.0); going on in float32, which is slower. "
        "--dtype=float16 may be faster.",
        device.str());
    return {at::kFloat, at::kFloat};
  }
  const at::ScalarType named = *named_dtype(dtype);
  return {named, named};
}

at::Tensor forbidden_bias(const std::vector<int64_t>& allowed, int64_t outputs, at::Device device) {
  at::Tensor bias = at::full({outputs}, -std::numeric_limits<double>::infinity(), at::kFloat);
  bias.index_fill_(0, at::tensor(allowed, at::kLong), 0);
  return bias.to(device);
}

WordEdges word_edges(const Vocabulary& vocabulary, int64_t outputs, at::Device device) {
  const at::Tensor begins = at::zeros({outputs}, at::kBool), ends = at::zeros_like(begins);
  for (int64_t id = 0; id < std::min(outputs, vocabulary.size()); ++id) {
    if (!vocabulary.is_special(id)) {
      const std::string_view piece = vocabulary.piece(id);
      begins.data_ptr<bool>()[id] = begins_within_word(piece);
      ends.data_ptr<bool>()[id] = ends_within_word(piece);
    }
  }
  return {begins.to(device), ends.to(device), vocabulary.characters()};
}

std::string dtype_name(at::ScalarType dtype) {
  return std::string(name_of(element_type(dtype)));
}

}  // namespace demask

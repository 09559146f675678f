#include "checkpoint/stored_tensors.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "checkpoint/archive.h"
#include "checkpoint/mapped_file.h"
#include "checkpoint/model_folder.h"
#include "checkpoint/safetensors.h"
#include "core/error.h"

namespace demask {
namespace {

constexpr std::array<std::pair<ElementType, at::ScalarType>, 5> element_types{{{ElementType::float32, at::kFloat},
                                                                               {ElementType::float64, at::kDouble},
                                                                               {ElementType::float16, at::kHalf},
                                                                               {ElementType::bfloat16, at::kBFloat16},
                                                                               {ElementType::int8, at::kChar}}};

// A tensor that begins with `bytes` of the file and keeps it open.
at::Tensor lying_in(const std::shared_ptr<const MappedFile>& file, std::string_view bytes, at::IntArrayRef sizes,
                    const at::TensorOptions& options) {
  // LibTorch knows no tensors of constant memory.
  return at::from_blob(
      const_cast<char*>(bytes.data()), sizes, [file](void*) {}, options);
}

bool is_contiguous(const StoredTensor& tensor) {
  int64_t stride = 1;
  for (size_t i = tensor.sizes.size(); i-- > 0;) {
    if (tensor.sizes[i] != 1 && tensor.strides[i] != stride) {
      return false;
    }
    stride *= tensor.sizes[i];
  }
  return true;
}

}  // namespace

at::ScalarType scalar_type(ElementType type) {
  return element_types[static_cast<size_t>(type)].second;
}

ElementType element_type(at::ScalarType type) {
  for (const auto& [ours, libtorchs] : element_types) {
    if (libtorchs == type) {
      return ours;
    }
  }
  fail(ExitCode::failed, "no model is in {}. Use --dtype=float32.", toString(type));
}

at::Tensor Archive::read(const StoredTensor& tensor, const std::string& name) const {
  check(tensor, name);
  const auto options = at::TensorOptions(scalar_type(tensor.dtype));
  if (std::count(tensor.sizes.begin(), tensor.sizes.end(), 0) > 0) {
    return at::empty(tensor.sizes, options);
  }
  const at::Tensor storage = at::empty({tensor.storage_numel}, options);
  read("data/" + tensor.storage, static_cast<char*>(storage.data_ptr()), storage.nbytes());
  const at::Tensor view = storage.as_strided(tensor.sizes, tensor.strides, tensor.offset);
  // A view of part of a storage must not keep all of it.
  return view.numel() == tensor.storage_numel ? view.contiguous() : view.clone(at::MemoryFormat::Contiguous);
}

at::Tensor Archive::look_at(const StoredTensor& tensor, const std::string& name) const {
  check(tensor, name);
  const auto options = at::TensorOptions(scalar_type(tensor.dtype));
  const std::string_view bytes = bytes_of("data/" + tensor.storage);
  const size_t begin = static_cast<size_t>(tensor.offset) * demask::bytes_of(tensor.dtype);
  const bool empty = std::count(tensor.sizes.begin(), tensor.sizes.end(), 0) > 0;
  if (empty || !is_contiguous(tensor) ||
      reinterpret_cast<uintptr_t>(bytes.data()) % demask::bytes_of(tensor.dtype) != 0) {
    return read(tensor, name);
  }
  file()->check_whole();
  return lying_in(file(), bytes.substr(begin), tensor.sizes, options);
}

at::Tensor SafetensorsFile::read(const std::string& name) const {
  const SafetensorsEntry& entry = tensors_.at(name);
  const ElementType type = element_type(name);
  const auto options = at::TensorOptions(scalar_type(type));
  file_->check_whole();
  const std::string_view bytes = bytes_of(entry);
  if (reinterpret_cast<uintptr_t>(bytes.data()) % demask::bytes_of(type) != 0) {
    at::Tensor copy = at::empty(entry.shape, options);
    std::memcpy(copy.data_ptr(), bytes.data(), bytes.size());
    return copy;
  }
  return lying_in(file_, bytes, entry.shape, options);
}

at::Tensor ModelFolder::read(const std::string& tensor) const {
  return file_of(tensor).read(tensor);
}

}  // namespace demask

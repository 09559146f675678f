#include "checkpoint/read_model.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "checkpoint/compare_tensors.h"
#include "checkpoint/families/config_reader.h"
#include "checkpoint/families/families.h"
#include "checkpoint/finite_weights.h"
#include "checkpoint/model_folder.h"
#include "checkpoint/weight_plan.h"
#include "core/error.h"
#include "core/text.h"

namespace demask {
namespace {

// The one that the file uses; the usual one where none fits, so that what is missing is named as users know it.
std::string find_prefix(const TensorNames& names, const ShapesByName& stored) {
  for (const std::string_view prefix : names.prefixes) {
    if (stored.count(fmt::format("{}{}", prefix, names.token_embedding)) != 0) {
      return std::string(prefix);
    }
  }
  return std::string(names.prefixes.front());
}

bool is_buffer(const Family& family, std::string_view name) {
  return std::any_of(family.names.buffers.begin(), family.names.buffers.end(),
                     [&](std::string_view end) { return ends_with(name, end); });
}

class ModelReader {
 public:
  ModelReader(const std::string& path, const ParameterConversion& convert) : folder_(path), convert_(convert) {}

  TransformerWeights read() {
    const Family& family = find_family(folder_.config(), folder_.config_path());
    const std::string prefix = find_prefix(family.names, folder_.shapes());
    Architecture architecture = family.read_config(ConfigReader(folder_.config(), folder_.config_path()));
    const std::string head = head_weight_name(family, prefix);
    TransformerDescription& description = architecture.description;
    description.tied_head = architecture.tied_head.value_or(folder_.shapes().count(head) == 0);

    TransformerWeights weights;
    weights.description = description;
    weights.dataset = architecture.dataset;
    weights.layers.resize(static_cast<size_t>(description.layers));
    const WeightPlan plan = plan_weights(family, architecture, prefix, weights,
                                         [this](const std::string& name) { return folder_.read(name); });
    compare(family, plan, description.tied_head ? head : "");
    for (const PlannedTensor& planned : plan.tensors) {
      *planned.tensor = assemble(planned);
    }
    if (description.tied_head) {
      weights.head.weight = weights.token_embedding;
    }
    return weights;
  }

 private:
  // `unused_head`: stored although the head is tied; empty otherwise.
  void compare(const Family& family, const WeightPlan& plan, const std::string& unused_head) const {
    NamedShapes expected = plan.others;
    for (const PlannedTensor& planned : plan.tensors) {
      for (const StoredSlice& slice : planned.slices) {
        expected.emplace_back(slice.name, slice.shape);
      }
    }
    ShapesByName found;
    for (const auto& [name, shape] : folder_.shapes()) {
      if (!is_buffer(family, name) && name != unused_head) {
        found.emplace(name, shape);
      }
    }
    const std::string differences = compare_tensors(expected, found);
    if (!differences.empty()) {
      fail(ExitCode::bad_input, "model '{}': its tensors do not fit '{}'.{}", folder_.path(), folder_.config_path(),
           differences);
    }
  }

  at::Tensor convert(const at::Tensor& stored) {
    if (convert_) {
      return convert_(stored);
    }
    dtype_ = dtype_.value_or(stored.scalar_type());
    return stored.to(*dtype_);
  }

  // A stored tensor, or one that is made where `slice` is null, as the caller keeps it.
  at::Tensor read_slice(const PlannedTensor& planned, const StoredSlice* slice) {
    at::Tensor stored = slice == nullptr ? at::Tensor() : folder_.read(slice->name);
    if (planned.adjust) {
      stored = planned.adjust(stored);
    }
    at::Tensor converted = convert(stored);
    if (slice != nullptr) {
      check_finite(
          converted, stored,
          fmt::format("model file '{}': the weight {}", folder_.file_of(slice->name).path(), quote(slice->name)));
    }
    if (planned.transposed && converted.dim() == 2) {
      converted = converted.t().contiguous();
    }
    return converted;
  }

  at::Tensor assemble(const PlannedTensor& planned) {
    if (planned.slices.empty()) {
      return read_slice(planned, nullptr);
    }
    if (planned.slices.size() == 1) {
      at::Tensor whole = read_slice(planned, &planned.slices.front());
      folder_.drop(planned.slices.front().name);
      return whole;
    }
    at::Tensor whole;
    int64_t row = 0;
    const size_t out = planned.transposed ? 1 : 0;  // bias: one dimension
    for (const StoredSlice& slice : planned.slices) {
      const at::Tensor part = read_slice(planned, &slice);
      if (!whole.defined()) {
        whole = at::empty(packed_shape(planned, out), part.options());
      }
      whole.narrow(0, row, part.size(0)).copy_(part);
      row += part.size(0);
      folder_.drop(slice.name);
    }
    return whole;
  }

  static std::vector<int64_t> packed_shape(const PlannedTensor& planned, size_t out) {
    std::vector<int64_t> shape = planned.slices.front().shape;
    if (shape.size() == 2 && out == 1) {
      std::swap(shape[0], shape[1]);
    }
    shape[0] = 0;
    for (const StoredSlice& slice : planned.slices) {
      shape[0] += slice.shape.size() == 2 ? slice.shape[out] : slice.shape[0];
    }
    return shape;
  }

  ModelFolder folder_;
  const ParameterConversion& convert_;
  std::optional<at::ScalarType> dtype_;  // of all, where the caller converts none
};

}  // namespace

TransformerWeights read_model_folder(const std::string& path, const ParameterConversion& convert) {
  return ModelReader(path, convert).read();
}

}  // namespace demask

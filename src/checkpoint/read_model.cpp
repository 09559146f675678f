#include "checkpoint/read_model.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "checkpoint/family_tensors.h"
#include "checkpoint/finite_weights.h"
#include "checkpoint/planned_folder.h"
#include "checkpoint/stored_tensors.h"
#include "core/error.h"
#include "core/text.h"

namespace demask {
namespace {

class FolderSource : public WeightSource {
 public:
  FolderSource(const std::string& path, const at::TensorOptions& options)
      : planned_(path),
        options_(options),
        adjustment_of_(adjustments(planned_.family(), planned_.prefix(),
                                   [this](const std::string& name) { return planned_.folder().read(name); })) {
    if (!options_.has_dtype()) {
      const std::string& embedding = planned_.plan().tensors.front().slices.front().name;
      options_ = options_.dtype(scalar_type(planned_.folder().file_of(embedding).element_type(embedding)));
    }
    for (const PlannedTensor& planned : planned_.plan().tensors) {
      plan_[planned.layer].push_back(planned);
    }
    places_.layers.resize(static_cast<size_t>(description().layers));
  }

  const TransformerDescription& description() const override { return planned_.description(); }
  at::TensorOptions options() const override { return options_; }
  std::optional<std::string> dataset() const override { return planned_.dataset(); }
  at::Tensor token_embedding() override { return read(TensorRole::token_embedding, places_.token_embedding); }
  at::Tensor token_embedding_rows(int64_t first, int64_t count) override {
    const PlannedTensor& planned = plan_.at(std::nullopt).front();
    if (adjustment_of_(planned) || planned.slices.size() != 1) {
      if (!places_.token_embedding.defined()) {
        places_.token_embedding = token_embedding();
      }
      return places_.token_embedding.narrow(0, first, count);
    }
    drop_handed_over();  // the rows before, or the part before
    const std::string& name = planned.slices.front().name;
    const at::Tensor stored = planned_.folder().read(name), rows = stored.narrow(0, first, count);
    at::Tensor converted = convert(rows);
    if (!is_finite_converted(converted, rows)) {
      check(convert(stored), stored, name);  // finds its place in all of the tensor
    }
    handed_over_ = {name};
    return converted;
  }
  at::Tensor position_embedding() override { return read(TensorRole::position_embedding, places_.position_embedding); }
  LayerWeights layer(int64_t number) override {
    drop_handed_over();
    for (const PlannedTensor& planned : plan_.at(number)) {
      place_of(planned, places_) = assemble(planned);
    }
    return std::exchange(places_.layers[static_cast<size_t>(number)], {});
  }
  NormWeights final_norm() override { return read(TensorRole::final_norm, places_.final_norm); }
  LinearWeights head() override { return read(TensorRole::head, places_.head); }

 private:
  // A part that belongs to no layer.
  template <typename Part>
  Part read(TensorRole role, Part& place) {
    drop_handed_over();
    for (const PlannedTensor& planned : plan_.at(std::nullopt)) {
      if (planned.role == role) {
        place_of(planned, places_) = assemble(planned);
      }
    }
    return std::exchange(place, {});
  }

  // Whoever asks for the next part has most likely done with the one before; what is still looked at is read again.
  void drop_handed_over() {
    for (const std::string& name : handed_over_) {
      planned_.folder().drop(name);
    }
    handed_over_.clear();
  }

  // On the device, which may be faster at it than the host. `stored` itself where nothing is to be done.
  at::Tensor convert(const at::Tensor& stored) const { return stored.to(options_.device()).to(dtype()); }

  at::Tensor assemble(const PlannedTensor& planned) {
    const Adjustment adjust = adjustment_of_(planned);
    if (planned.slices.empty()) {
      return convert(adjust(at::Tensor()));
    }
    at::Tensor whole;
    int64_t row = 0;
    for (const StoredSlice& slice : planned.slices) {
      at::Tensor stored = planned_.folder().read(slice.name);
      if (adjust) {
        stored = adjust(stored);
      } else if (!whole.defined() && planned.slices.size() == 1 && is_kept_as_it_is(stored, planned)) {
        whole = convert(stored);
        check(whole, stored, slice.name);
        handed_over_.push_back(slice.name);
        return whole;
      }
      copy_slice(planned, stored, slice.name, row, whole);
      row += stored.size(planned.transposed && stored.dim() == 2 ? 1 : 0);
    }
    return whole;
  }

  bool is_kept_as_it_is(const at::Tensor& stored, const PlannedTensor& planned) const {
    const bool transposed = planned.transposed && stored.dim() == 2;
    return !transposed && on_cpu() && stored.scalar_type() == dtype();
  }

  // Elements that are converted at a time. What malloc frees in larger pieces it keeps between tensors that stay;
  // copies to a device are faster in large ones.
  int64_t block_elements() const { return on_cpu() ? int64_t{1} << 18 : int64_t{1} << 23; }

  at::ScalarType dtype() const { return c10::typeMetaToScalarType(options_.dtype()); }
  bool on_cpu() const { return options_.device().is_cpu(); }

  // Converts `stored` block by block and copies it into rows `row` and on of `whole`, which is made with the first of
  // them. So neither host nor device holds two copies of a large tensor.
  void copy_slice(const PlannedTensor& planned, const at::Tensor& stored, const std::string& name, int64_t row,
                  at::Tensor& whole) {
    const bool transposed = planned.transposed && stored.dim() == 2;
    const int64_t lines = stored.size(0);
    const int64_t block = std::max<int64_t>(1, block_elements() * lines / stored.numel());
    for (int64_t line = 0; line < lines; line += block) {
      const int64_t count = std::min(block, lines - line);
      const at::Tensor part = stored.narrow(0, line, count);
      const at::Tensor converted = convert(part);
      if (!is_finite_converted(converted, part)) {
        check(convert(stored), stored, name);  // finds its place in all of the tensor
      }
      if (!whole.defined()) {
        whole = at::empty(shape_of(planned), converted.options());
      }
      if (transposed) {
        whole.narrow(0, row, stored.size(1)).narrow(1, line, count).copy_(converted.t());
      } else {
        whole.narrow(0, row + line, count).copy_(converted);
      }
      planned_.folder().drop(name);
    }
  }

  void check(const at::Tensor& converted, const at::Tensor& stored, const std::string& name) const {
    check_finite(converted, stored,
                 fmt::format("model file '{}': the weight {}", planned_.folder().file_of(name).path(), quote(name)));
  }

  static std::vector<int64_t> shape_of(const PlannedTensor& planned) {
    std::vector<int64_t> shape = planned.slices.front().shape;
    const bool transposed = planned.transposed && shape.size() == 2;
    if (transposed) {
      std::swap(shape[0], shape[1]);
    }
    shape[0] = 0;
    for (const StoredSlice& slice : planned.slices) {
      shape[0] += slice.shape[transposed ? 1 : 0];
    }
    return shape;
  }

  PlannedFolder planned_;
  at::TensorOptions options_;
  AdjustmentOf adjustment_of_;
  TransformerWeights places_;                                          // where tensors are put together
  std::map<std::optional<int64_t>, std::vector<PlannedTensor>> plan_;  // by layer
  std::vector<std::string> handed_over_;  // tensors that lie in a mapped file, of the part asked for last
};

}  // namespace

std::unique_ptr<WeightSource> open_model_folder(const std::string& path, const at::TensorOptions& options) {
  return std::make_unique<FolderSource>(path, options);
}

TransformerWeights read_model_folder(const std::string& path, const at::TensorOptions& options) {
  return read_all(*open_model_folder(path, options));
}

}  // namespace demask

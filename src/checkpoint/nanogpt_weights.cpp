#include "checkpoint/nanogpt_weights.h"

#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <optional>
#include <utility>
#include <vector>

#include "checkpoint/finite_weights.h"

namespace demask {
namespace {

// Parameters by their names, wherever they are.
class NanoGptSource : public WeightSource {
 public:
  NanoGptSource(const ModelArgs& args, std::optional<std::string> dataset, const at::TensorOptions& options)
      : description_(description_of(args)), bias_(args.bias), dataset_(std::move(dataset)), options_(options) {}

  const TransformerDescription& description() const override { return description_; }
  at::TensorOptions options() const override { return options_; }
  std::optional<std::string> dataset() const override { return dataset_; }
  at::Tensor token_embedding() override {
    begin_part();
    return description_.tied_head ? matrix(token_embedding_name) : parameter(token_embedding_name);
  }
  at::Tensor token_embedding_rows(int64_t first, int64_t count) override {
    begin_part();
    return rows(token_embedding_name, first, count);
  }
  at::Tensor position_embedding() override {
    begin_part();
    return description_.rotary ? at::Tensor() : parameter("transformer.wpe.weight");
  }
  LayerWeights layer(int64_t number) override {
    begin_part();
    const std::string prefix = fmt::format("transformer.h.{}.", number);
    LayerWeights layer;
    layer.attention_norm = norm(prefix + "ln_1");
    layer.query_key_value = linear(prefix + "attn.c_attn");
    layer.attention_projection = linear(prefix + "attn.c_proj");
    layer.feed_forward_norm = norm(prefix + "ln_2");
    layer.expand = linear(prefix + "mlp.c_fc");
    layer.contract = linear(prefix + "mlp.c_proj");
    return layer;
  }
  NormWeights final_norm() override {
    begin_part();
    return norm("transformer.ln_f");
  }
  LinearWeights head() override {
    begin_part();
    return {description_.tied_head ? at::Tensor() : matrix(head_name), {}};
  }

 private:
  virtual at::Tensor parameter(const std::string& name) = 0;
  // The weight of a linear layer, which may be lent.
  virtual at::Tensor matrix(const std::string& name) { return parameter(name); }
  virtual at::Tensor rows(const std::string& name, int64_t first, int64_t count) {
    return parameter(name).narrow(0, first, count);
  }
  virtual void begin_part() {}

  at::Tensor bias(const std::string& name) { return bias_ ? parameter(name + ".bias") : at::Tensor(); }
  LinearWeights linear(const std::string& name) { return {matrix(name + ".weight"), bias(name)}; }
  NormWeights norm(const std::string& name) { return {parameter(name + ".weight"), bias(name)}; }

  TransformerDescription description_;
  bool bias_;
  std::optional<std::string> dataset_;
  at::TensorOptions options_;
};

class CheckpointSource : public NanoGptSource {
 public:
  explicit CheckpointSource(const NanoGptCheckpoint& checkpoint)
      : NanoGptSource(checkpoint.args, checkpoint.dataset, checkpoint.parameters.at(token_embedding_name).options()),
        checkpoint_(checkpoint) {}

 private:
  at::Tensor parameter(const std::string& name) override { return checkpoint_.parameters.at(name); }

  const NanoGptCheckpoint& checkpoint_;
};

// Whether a weight is lent as it is stored: float32 that the borrower may round, known to be finite or found so.
bool can_lend(const at::Tensor& stored, const at::TensorOptions& options, bool known_finite) {
  const at::ScalarType dtype = options.has_dtype() ? c10::typeMetaToScalarType(options.dtype()) : stored.scalar_type();
  return stored.is_cpu() && options.device().is_cpu() && stored.scalar_type() == at::kFloat && stored.numel() > 0 &&
         (dtype == at::kFloat || dtype == at::kBFloat16) && (known_finite || stays_finite(stored, dtype));
}

class FileSource : public NanoGptSource {
 public:
  FileSource(std::unique_ptr<const NanoGptFile> file, const at::TensorOptions& options,
             std::shared_ptr<const FiniteAhead> finite)
      : NanoGptSource(file->args(), file->dataset(), options),
        file_(std::move(file)),
        finite_(std::move(finite)),
        convert_([options](const at::Tensor& stored) { return stored.to(options); }) {}

  void lend() override { lends_ = true; }
  std::shared_ptr<const MappedFile> lend_for_good() override {
    lends_ = lends_for_good_ = true;
    return file_->mapped();
  }

 private:
  at::Tensor parameter(const std::string& name) override { return file_->read(name, convert_); }
  at::Tensor matrix(const std::string& name) override {
    if (!lends_) {
      return parameter(name);
    }
    lent_.push_back(name);
    return file_->look_at(name, lending(name), NanoGptFile::AsStored::checked);
  }
  at::Tensor rows(const std::string& name, int64_t first, int64_t count) override {
    lent_.push_back(name);
    return file_->look_at_rows(name, first, count, lending(name), NanoGptFile::AsStored::checked);
  }
  void begin_part() override {
    if (!lends_for_good_) {
      for (const std::string& name : lent_) {
        file_->drop(name);
      }
    }
    lent_.clear();
  }

  ParameterConversion lending(const std::string& name) const {
    const bool known_finite = finite_ && finite_->knows(name, *file_->mapped());
    return [options = options(), known_finite](const at::Tensor& stored) {
      // A copy even in the same dtype, as what is given back as it is stored counts as finite.
      return can_lend(stored, options, known_finite) ? stored
                                                     : stored.to(options, /*non_blocking=*/false, /*copy=*/true);
    };
  }

  std::unique_ptr<const NanoGptFile> file_;
  std::shared_ptr<const FiniteAhead> finite_;
  ParameterConversion convert_;
  bool lends_ = false, lends_for_good_ = false;
  std::vector<std::string> lent_;  // of the part asked for last
};

}  // namespace

TransformerWeights nanogpt_weights(const NanoGptCheckpoint& checkpoint) {
  CheckpointSource source(checkpoint);
  return read_all(source);
}

std::unique_ptr<WeightSource> open_nanogpt(const std::string& path, const at::TensorOptions& options,
                                           std::shared_ptr<const FiniteAhead> finite) {
  return std::make_unique<FileSource>(std::make_unique<const NanoGptFile>(path), options, std::move(finite));
}

}  // namespace demask

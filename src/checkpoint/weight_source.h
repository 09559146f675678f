// A transformer's weights part by part, each read when it is asked for. Whoever brings them into a form of its own,
// such as panels for the CPU kernels, then holds no more than one part twice.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/TensorOptions.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "checkpoint/transformer.h"

namespace demask {

class MappedFile;

class WeightSource {
 public:
  virtual ~WeightSource() = default;

  virtual const TransformerDescription& description() const = 0;
  virtual at::TensorOptions options() const = 0;           // dtype and device that all weights have
  virtual std::optional<std::string> dataset() const = 0;  // that the checkpoint names

  // For who makes something else of each part at once, panels for the CPU kernels: from now on the weights of linear
  // layers may lie in a mapped file, and be float32 where `options` say bfloat16, in which they are finite. They must
  // not be written to, and are valid until the next part is asked for.
  virtual void lend() {}
  // The same of weights that stay valid. Gives the file that they lie in, or null where the source has no single one,
  // and then lends nothing.
  virtual std::shared_ptr<const MappedFile> lend_for_good() { return nullptr; }

  // Each may be asked for once. They throw Error(bad_input) where the file cannot be read, or holds NaN or an infinity.
  virtual at::Tensor token_embedding() = 0;
  // In place of it: `count` of its rows from `first` on. Rows are asked for from the first to the last, and only these
  // need be in memory.
  virtual at::Tensor token_embedding_rows(int64_t first, int64_t count) = 0;
  virtual at::Tensor position_embedding() = 0;  // undefined where positions are rotary
  virtual LayerWeights layer(int64_t number) = 0;
  virtual NormWeights final_norm() = 0;
  virtual LinearWeights head() = 0;  // its weight undefined where it is the token embedding
};

// Weights that are in memory already. They are let go as they are asked for.
std::unique_ptr<WeightSource> make_weight_source(TransformerWeights weights);

TransformerWeights read_all(WeightSource& source);

}  // namespace demask

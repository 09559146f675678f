// A transformer of the field run natively, whatever its family: what it computes is its description, see
// checkpoint/transformer.h. This file reads as the reference; demask's own kernels compute the same.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/transformer.h"
#include "checkpoint/weight_source.h"
#include "kernels/cuda.h"
#include "kernels/operands.h"
#include "model/language_model.h"
#include "model/transformer_cpu.h"
#include "model/transformer_operations.h"

namespace demask {

// Whose kernels a model runs on: demask's own where they suit, those with products in int8, or LibTorch's everywhere.
enum class KernelChoice { own, int8, libtorch };

// Of which it pays to make weights ready.
inline constexpr int64_t many_forwards = std::numeric_limits<int64_t>::max();

// What a model that computes in `dtype` asks for. int8, which is kChar, is a form that the CPU kernels bring weights
// into from whatever dtype they are stored in.
KernelChoice kernels_for(at::ScalarType dtype);
at::TensorOptions options_of_weights(at::ScalarType dtype, at::Device device);

// Sources: Radford et al. 2019; Touvron et al. 2023 (RMSNorm, SwiGLU, rotary); Ainslie et al. 2023 (grouped queries).
class Transformer : public LanguageModel {
 public:
  // Weights all in one dtype on one device. `form` begins the description.
  explicit Transformer(TransformerWeights weights, const std::string& form = {},
                       KernelChoice kernels = KernelChoice::own);
  // The same of weights that are read as they are needed, for a model that is asked for about so many forwards. Throws
  // as the source does, and Error(bad_usage) where int8 is asked for and there are no kernels for it.
  explicit Transformer(WeightSource& source, const std::string& form = {}, KernelChoice kernels = KernelChoice::own,
                       int64_t forwards = many_forwards);

  const ModelInfo& info() const override { return info_; }
  at::Device device() const override { return device_; }
  // Whether it runs on demask's own kernels for the CPU, rather than on LibTorch's operations or another device.
  bool has_cpu_kernels() const { return on_cpu_ != nullptr; }
  // Whether a text's logits are the same bits in any batch, as they are at first, on CUDA where demask's own kernels
  // suit the model. On the CPU they are in any case.
  void keep_batch_invariant(bool keep) { batch_invariant_ = keep; }
  // To devices of the same kind. Null of one that runs on the CPU's kernels, whose panels stay where they are.
  std::unique_ptr<LanguageModel> copy_to(at::Device device) const override;
  at::Tensor logits(const at::Tensor& tokens) override;
  at::Tensor logits_at(const at::Tensor& tokens, const at::Tensor& positions) override;
  // On CUDA, of large vocabularies: without the rounding of logits in a half precision.
  bool judges_tokens() const override { return judges_; }
  at::Tensor log_probability_at(const at::Tensor& tokens, const at::Tensor& positions, const at::Tensor& ids,
                                const at::Tensor& broken) override;
  // A causal model keeps a key-value cache until the text outgrows the block; from there, as nanoGPT crops, every
  // position moves with each token, so the last block is run again.
  std::unique_ptr<DecodingSession> begin(const GrowingText& text) override;
  std::unique_ptr<BlockCache> begin_blocks(int64_t batch, int64_t length) override;

 private:
  friend class CachedSession;
  friend class TransformerBlockCache;

  Transformer(const Transformer& other, at::Device device);

  // Keys and values [B, K, max, D], one pair a layer, the first `length` positions of which are known.
  struct Cache {
    std::vector<at::Tensor> keys;
    std::vector<at::Tensor> values;
    kernels::cuda::DecodeWorkspace workspace;  // where the kernels decode
    int64_t length = 0;
    at::Tensor positions;  // [T] int64: the cache holds all positions, and the tokens stand at these; or undefined

    // Keeps keys or values x [B, K, T, D] in `stored`, one of the tensors above, and gives those that queries see.
    at::Tensor keep(const at::Tensor& x, const at::Tensor& stored) const;
  };

  // What the positions of a forward's T tokens give them.
  struct Places {
    at::Tensor embedding;     // [T, C], absolute positions only
    at::Tensor cosine, sine;  // [T, D / 2], rotary positions only
    at::Tensor angles;        // [T, D / 2, 2], both, where a product of many rows rotates by them
    at::Tensor seen;          // bool [T, N], which of the cache's positions each sees; undefined: as the model does
  };

  // tokens [B, T] -> final hidden states [B, T, C]. With a cache, the tokens follow its `length` positions or stand at
  // its positions, and their keys and values are written to it.
  at::Tensor hidden(const at::Tensor& tokens, const Cache* cache) const;
  // The logits [B, V] that follow the one token of each text that stands at text.position, with the keys and values of
  // all before it in the cache: fixed work whatever the position. For models that the kernels suit.
  at::Tensor logits_of_last(const GrowingText& text, const Cache& cache) const;
  // From the embeddings x [B, 1, C], which are overwritten, of a few texts.
  at::Tensor logits_by_row_products(const at::Tensor& x, const GrowingText& text, const Cache& cache) const;
  void add_layers_of_last(const at::Tensor& x, const GrowingText& text, const Cache& cache) const;
  bool add_layers_at_once(const at::Tensor& x, const GrowingText& text, const Cache& cache) const;
  at::Tensor attend_last(const at::Tensor& qkv, size_t layer, const GrowingText& text, const Cache& cache) const;
  // The blocks' work in common. x [B, T, C] holds the residual stream, which is overwritten, normed its first
  // norm; mix(normed [B, T, C], layer) -> [B, T, H * D] is the attention's work up to its last product.
  template <typename Mix>
  at::Tensor run_blocks(at::Tensor x, at::Tensor normed, const Mix& mix) const;
  const NormWeights& first_norm() const;
  Places places_of(const Cache* cache, int64_t length) const;
  Places places_at(const at::Tensor& positions, int64_t known) const;
  at::Tensor add_and_norm(at::Tensor& x, const at::Tensor& update, const LinearWeights& by,
                          const NormWeights& norm) const;
  at::Tensor norm(const at::Tensor& x, const NormWeights& weights) const;
  kernels::Norm own_norm(const NormWeights& weights) const;
  kernels::Heads own_heads(size_t layer, const at::Tensor& cosine, const at::Tensor& sine) const;
  at::Tensor expanded(const LayerWeights& layer, const at::Tensor& x) const;
  at::Tensor attention(const at::Tensor& normed, size_t layer, const Places& places, const Cache* cache) const;
  at::Tensor query_key_value(const at::Tensor& normed, size_t layer, const Places& places) const;
  at::Tensor multiply(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias = {}) const;
  at::Tensor head(const at::Tensor& x) const;
  // tokens [B, T] -> [B, n, C], what the logits at positions [B, n] are made of.
  at::Tensor states_at(const at::Tensor& tokens, const at::Tensor& positions) const;
  // Of the final hidden states [B, T, C] of a text's first T positions, those that each position's logits are made of.
  at::Tensor shifted_states(const at::Tensor& states) const;

  TransformerWeights weights_;  // empty where on_cpu_ holds them
  ModelInfo info_;
  at::Device device_;
  std::unique_ptr<TransformerOnCpu> on_cpu_;
  at::Tensor cosine_, sine_;   // [block, D / 2], rotary positions only, float32 where the kernels read them
  at::Tensor angles_;          // [block, D / 2, 2], both, where a product of many rows rotates by them
  LinearWeights head_;         // rows padded with zeros to a multiple of 8 on CUDA, which the fast products need
  bool fused_ = false;         // whether demask's own CUDA kernels do what they can
  bool row_products_ = false;  // and the products of a few rows
  bool judges_ = false;        // and the head's product that judges its rows
  bool batch_invariant_ = true;
};

}  // namespace demask

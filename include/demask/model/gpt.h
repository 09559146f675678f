// The GPT of nanoGPT, built natively from a training checkpoint: causal or bidirectional, absolute or rotary positions.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "demask/checkpoint/nanogpt_checkpoint.h"
#include "demask/model/language_model.h"

namespace demask {

// Pre-norm blocks, exact GELU, LayerNorm eps 1e-5; rotary positions are half-split with base 10000, as in GPT-NeoX.
// Sources: Radford et al. 2019; Karpathy's nanoGPT (parameter names); Su et al. 2021 (rotary).
class Gpt : public LanguageModel {
 public:
  // Parameters as read_nanogpt_checkpoint gives them, all in one dtype on one device.
  explicit Gpt(const NanoGptCheckpoint& checkpoint);

  const ModelInfo& info() const override { return info_; }
  at::Device device() const override { return token_embedding_.device(); }
  at::Tensor logits(const at::Tensor& tokens) override;
  // A causal model keeps a key-value cache until the text outgrows the block; from there, as nanoGPT crops, every
  // position moves with each token, so the last block is run again.
  std::unique_ptr<DecodingSession> begin(int64_t batch, int64_t max_length) override;

 private:
  friend class CachedSession;

  struct Linear {
    at::Tensor weight;                                 // [out, in]
    at::Tensor bias;                                   // [out], or undefined
    at::Tensor operator()(const at::Tensor& x) const;  // [B, T, in] -> [B, T, out]
  };
  struct Norm {
    at::Tensor weight;  // [C]
    at::Tensor bias;    // [C], or undefined
    at::Tensor operator()(const at::Tensor& x) const;
  };
  struct Block {
    Norm attention_norm;
    Linear query_key_value;
    Linear attention_projection;
    Norm feed_forward_norm;
    Linear expand;
    Linear contract;
  };
  // Keys and values [B, H, max, D] of the first `length` positions, one pair a layer.
  struct Cache {
    std::vector<at::Tensor> keys;
    std::vector<at::Tensor> values;
    int64_t length = 0;
  };

  // tokens [B, T] -> final hidden states [B, T, C]. With a cache, the tokens follow its `length` positions and are
  // added to it.
  at::Tensor hidden(const at::Tensor& tokens, Cache* cache) const;
  at::Tensor attention(const Block& block, const at::Tensor& x, size_t layer, Cache* cache) const;
  at::Tensor rotate(const at::Tensor& heads, int64_t first_position) const;
  at::Tensor head(const at::Tensor& x) const;

  ModelArgs args_;
  ModelInfo info_;
  at::Tensor token_embedding_;     // [V, C]
  at::Tensor position_embedding_;  // [block, C], absolute positions only
  at::Tensor cosine_, sine_;       // [block, D / 2], rotary positions only
  std::vector<Block> blocks_;
  Norm final_norm_;
  Linear head_;
};

}  // namespace demask

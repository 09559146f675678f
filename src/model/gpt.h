// The GPT of nanoGPT, built natively from a training checkpoint: causal or bidirectional, absolute or rotary positions.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/nanogpt_checkpoint.h"
#include "kernels/operands.h"
#include "model/gpt_cpu.h"
#include "model/language_model.h"

namespace demask {

// cos and sin of position * 10000^(-2i / D), [positions, D / 2] float64 each. Source: Su et al. 2021.
std::pair<at::Tensor, at::Tensor> rotary_angles(int64_t positions, int64_t head_width);

// Whose kernels a model runs on: demask's own where they suit, or LibTorch's everywhere.
enum class KernelChoice { own, libtorch };

// Pre-norm blocks, exact GELU, LayerNorm eps 1e-5; rotary positions are half-split with base 10000, as in GPT-NeoX.
// Sources: Radford et al. 2019; Karpathy's nanoGPT (parameter names); Su et al. 2021 (rotary).
class Gpt : public LanguageModel {
 public:
  // Parameters as read_nanogpt_checkpoint gives them, all in one dtype on one device. `form` begins the description.
  explicit Gpt(const NanoGptCheckpoint& checkpoint, const std::string& form = {},
               KernelChoice kernels = KernelChoice::own);

  const ModelInfo& info() const override { return info_; }
  at::Device device() const override { return device_; }
  // Whether it runs on demask's own kernels for the CPU, rather than on LibTorch's operations or another device.
  bool has_cpu_kernels() const { return on_cpu_ != nullptr; }
  at::Tensor logits(const at::Tensor& tokens) override;
  at::Tensor logits_at(const at::Tensor& tokens, const at::Tensor& positions) override;
  // A causal model keeps a key-value cache until the text outgrows the block; from there, as nanoGPT crops, every
  // position moves with each token, so the last block is run again.
  std::unique_ptr<DecodingSession> begin(const GrowingText& text) override;

 private:
  friend class CachedSession;

  using Norm = kernels::Norm;
  struct Linear {
    at::Tensor weight;  // [out, in]
    at::Tensor bias;    // [out], or undefined
  };
  struct Block {
    Norm attention_norm;
    Linear query_key_value;
    Linear attention_projection;
    Norm feed_forward_norm;
    Linear expand;
    Linear contract;
  };
  // Keys and values [B, H, max, D], one pair a layer, the first `length` positions of which are known.
  struct Cache {
    std::vector<at::Tensor> keys;
    std::vector<at::Tensor> values;
    int64_t length = 0;
  };

  // tokens [B, T] -> final hidden states [B, T, C]. With a cache, the tokens follow its `length` positions, and their
  // keys and values are written to it.
  at::Tensor hidden(const at::Tensor& tokens, const Cache* cache) const;
  // The same for the one token of each text that stands at text.position, with its keys and values in the cache for all
  // before it: fixed work whatever the position. For models that the kernels suit.
  at::Tensor hidden_of_last(const GrowingText& text, const Cache& cache) const;
  // The blocks' work in common. x [B, T, C] holds the residual stream, which is overwritten, normed its first
  // LayerNorm; attend(qkv [B, T, 3C], layer) mixes the positions.
  template <typename Attend>
  at::Tensor run_blocks(at::Tensor x, at::Tensor normed, const Attend& attend) const;
  at::Tensor embed(const at::Tensor& tokens, int64_t first_position) const;
  at::Tensor add_and_norm(at::Tensor& x, const at::Tensor& update, const Linear& from, const Norm& norm) const;
  at::Tensor feed_forward(const Block& block, const at::Tensor& x) const;
  at::Tensor attention(const at::Tensor& qkv, size_t layer, const Cache* cache) const;
  at::Tensor rotate(const at::Tensor& heads, int64_t first_position) const;
  at::Tensor head(const at::Tensor& x) const;

  ModelArgs args_;
  ModelInfo info_;
  at::Device device_;
  std::unique_ptr<GptOnCpu> on_cpu_;  // holds the parameters itself: those below are empty then
  at::Tensor token_embedding_;        // [V, C]
  at::Tensor position_embedding_;     // [block, C], absolute positions only
  at::Tensor cosine_, sine_;          // [block, D / 2], rotary positions only, float32 where the kernels read them
  std::vector<Block> blocks_;
  Norm final_norm_;
  Linear head_;         // its weight's rows padded with zeros to a multiple of 8 on CUDA, which the fast products need
  bool fused_ = false;  // whether demask's own kernels do what they can
};

}  // namespace demask

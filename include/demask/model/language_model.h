// What the samplers need of a model: logits for tokens, and a decoding session for autoregression.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace demask {

struct ModelInfo {
  std::string
      description;  // for headers and messages, for example "6 layers, 4 heads, 256 wide, rotary, bidirectional"
  int64_t output_size = 0;             // V, the width of the logits
  int64_t input_size = 0;              // ids it accepts are below this, or 0 where the model does not say
  int64_t block_size = 0;              // longest sequence, or 0 where the model does not say
  bool causal = false;                 // a position sees only those before it
  bool every_position = true;          // false: gives logits at the last position only
  bool binary_classification = false;  // the logits are two classes, not tokens
  std::optional<std::string> dataset;  // the dataset named in the training configuration
};

// One autoregressive run over a batch of sequences of equal length, fed left to right.
class DecodingSession {
 public:
  virtual ~DecodingSession() = default;
  // Appends `tokens` [B, n] int64 (n >= 1) to every sequence and returns the logits [B, V] float32 that follow the last
  // of them, as nanoGPT's generate computes them: from at most the last block_size tokens.
  virtual at::Tensor append(const at::Tensor& tokens) = 0;
};

class LanguageModel {
 public:
  virtual ~LanguageModel() = default;

  virtual const ModelInfo& info() const = 0;
  virtual at::Device device() const = 0;

  // tokens [B, T] int64 on device(), T <= block_size -> logits [B, T, V] float32 at every position. Pure: no state, no
  // sampling.
  virtual at::Tensor logits(const at::Tensor& tokens) = 0;

  // Starts a session for `batch` sequences that will grow to at most `max_length` tokens. By default each append runs
  // the whole context again.
  virtual std::unique_ptr<DecodingSession> begin(int64_t batch, int64_t max_length);
};

}  // namespace demask

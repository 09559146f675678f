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
  at::ScalarType dtype = at::kFloat;   // of weights and activations
  int64_t output_size = 0;             // V, the width of the logits
  int64_t input_size = 0;              // ids it accepts are below this, or 0 where the model does not say
  int64_t block_size = 0;              // longest sequence, or 0 where the model does not say
  bool causal = false;                 // a position sees only those before it
  bool every_position = true;          // false: gives logits at the last position only
  bool binary_classification = false;  // the logits are two classes, not tokens
  std::optional<std::string> dataset;  // the dataset named in the training configuration
};

// Texts that grow by one token at a time, all in step.
struct GrowingText {
  at::Tensor tokens;    // [B, max_length] int64, the first length of them known
  at::Tensor position;  // [1] int64 on the same device: where the last known token stands, length - 1
};

// The last `count` known tokens, [B, count]; before the beginning, the first token again. The same work at any length.
at::Tensor last_tokens(const GrowingText& text, int64_t count);

// One autoregressive run over a batch of sequences of equal length. The sampler writes tokens and position; what a
// session computes reads them from the device, so that one recorded step serves many.
class DecodingSession {
 public:
  virtual ~DecodingSession() = default;

  // Starts again with texts of `length` tokens.
  virtual void restart(int64_t length) = 0;
  // Logits [B, V], in any floating dtype, that follow the texts as they stand, as nanoGPT's generate computes them:
  // from at most the last block_size tokens.
  virtual at::Tensor next_logits() = 0;
  // Tells the session that every text has grown by one token.
  virtual void advance() = 0;
  // Calls of next_logits in equal phases of 0 or above queue exactly the same work; one in phase -1 is unlike any
  // other.
  virtual int64_t phase() const = 0;
};

class LanguageModel {
 public:
  virtual ~LanguageModel() = default;

  virtual const ModelInfo& info() const = 0;
  virtual at::Device device() const = 0;

  // tokens [B, T] int64 on device(), T <= block_size -> logits [B, T, V] at every position, in any floating dtype.
  // Pure: no state, no sampling.
  virtual at::Tensor logits(const at::Tensor& tokens) = 0;

  // The same at positions [B, n] int64 only -> [B, n, V]. By default computes all and drops the others.
  virtual at::Tensor logits_at(const at::Tensor& tokens, const at::Tensor& positions);

  // How often its forward must run before it does the same work each time.
  virtual int64_t runs_before_recording() const { return 1; }

  // A session over `text`, whose tensors it keeps; call restart before the first use. By default each step runs the
  // whole context again.
  virtual std::unique_ptr<DecodingSession> begin(const GrowingText& text);
};

}  // namespace demask

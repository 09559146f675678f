// What the samplers need of a model: logits for tokens, and a decoding session for autoregression.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "model/block_cache.h"
#include "model/model_info.h"

namespace demask {

// Texts that grow by one token at a time, all in step.
struct GrowingText {
  at::Tensor tokens;    // [B, max_length] int64, the first length of them known
  at::Tensor position;  // [1] int64 on the same device: where the last known token stands, length - 1
};

// The last `count` known tokens, [B, count]; before the beginning, the first token again. The same work at any length.
at::Tensor last_tokens(const GrowingText& text, int64_t count);

// The first `length` tokens of a batch's texts. Beginnings that are alike are read once.
struct Beginnings {
  int64_t length = 1;
  at::Tensor different;  // [G] int64 on the texts' device: for each different beginning a text that has it, ascending;
                         // undefined where no two are alike
  at::Tensor place;      // [B] int64 on the same device: which of the G each text begins with; undefined together

  // tokens [B, L] -> the different beginnings [G, length].
  at::Tensor of(const at::Tensor& tokens) const;
  // x [G, ...], one row a beginning -> [B, ...], one row a text.
  at::Tensor for_each_text(const at::Tensor& x) const;
  // x [B, ...], whose first G rows hold what belongs to the beginnings: every text's row becomes its beginning's.
  void spread(const at::Tensor& x) const;
};

// Some positions of some beginnings.
struct Slice {
  int64_t first_text = 0, texts = 0;  // of the G
  int64_t first_position = 0, positions = 0;

  // x [G, T, ...] -> [texts, positions, ...]
  at::Tensor of(const at::Tensor& x) const;
};

// Cuts texts x positions into slices of at most most_rows rows, in order: whole texts where one fits, else parts of
// one.
void for_slices(int64_t texts, int64_t positions, int64_t most_rows, const std::function<void(const Slice&)>& work);

// Is given the logits [texts, positions, V] that follow the slice's positions.
using OnLogits = std::function<void(const Slice& slice, const at::Tensor& logits)>;

// One autoregressive run over a batch of sequences of equal length. The sampler writes tokens and position; what a
// session computes reads them from the device, so that one recorded step serves many.
class DecodingSession {
 public:
  virtual ~DecodingSession() = default;

  // Starts again with texts that begin so, and reads them. Where one forward gives what follows every position, as a
  // causal model's does, on_logits gets the logits of all positions of the different beginnings, or of their first
  // block_size where they are longer; never of the whole batch at once. Beginnings of one token may be left to
  // next_logits, which gives the same. Other models leave it alone.
  virtual void restart(const Beginnings& beginnings, const OnLogits& on_logits) = 0;
  void restart(int64_t length);  // no two begin alike, and nobody asks for the logits
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

  // Whether log_probability_at is there: of models to which logits cost more than what is wanted of them.
  virtual bool judges_tokens() const { return false; }

  // log softmax of logits_at(tokens, positions) at ids [B, n] int64: float32 [B, n], nats. Sets broken [] bool where it
  // is not a number.
  virtual at::Tensor log_probability_at(const at::Tensor& tokens, const at::Tensor& positions, const at::Tensor& ids,
                                        const at::Tensor& broken);

  // The same model on another device, of this one's weights; null where it has to be loaded anew.
  virtual std::unique_ptr<LanguageModel> copy_to(at::Device /*device*/) const { return nullptr; }

  // How often its forward must run before it does the same work each time.
  virtual int64_t runs_before_recording() const { return 1; }

  // A session over `text`, whose tensors it keeps; call restart before the first use. By default each step runs the
  // whole context again.
  virtual std::unique_ptr<DecodingSession> begin(const GrowingText& text);

  // A cache for texts [batch, length] that are filled block by block; null where info().keeps_blocks is false.
  virtual std::unique_ptr<BlockCache> begin_blocks(int64_t /*batch*/, int64_t /*length*/) { return nullptr; }
};

}  // namespace demask

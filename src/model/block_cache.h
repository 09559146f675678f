// Keys and values of the texts of a batch that are filled block by block: outside of the block they are kept from step
// to step, so that a forward computes the block's positions only.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace demask {

// Of texts [B, T] the positions first .. first + count - 1.
struct Window {
  int64_t first = 0;
  int64_t count = 0;
};

// Which positions a forward computes: all, whose keys and values are kept then, or the window's alone, which see the
// kept keys and values of the others.
enum class Extent { whole, window };

// Source: Fast-dLLM (Wu et al. 2025, arXiv 2505.22618, section 3.2). What is kept of a position is as old as the last
// whole forward, or as the last over a window that it was in. Forwards of one extent, and over windows of as many
// positions, queue the same work, so that one recorded step serves many blocks.
class BlockCache {
 public:
  virtual ~BlockCache() = default;

  // The window of the forwards to come, until the next call. Never part of a recorded step.
  virtual void choose(const Window& window) = 0;

  // How many positions of a text a forward over the window computes: where the logits of a position stand at the one
  // before it (TransformerDescription::shifted), the position before the window is computed with it.
  virtual int64_t computed() const = 0;

  // As LanguageModel::logits, [B, T, V]; a forward over the window renews the rows of the window alone, and the others
  // stay as the last call for a whole forward left them, zeros before the first. The next call overwrites the result.
  virtual at::Tensor logits(const at::Tensor& tokens, Extent extent) = 0;

  // As LanguageModel::logits_at; a window must hold the positions [B, n].
  virtual at::Tensor logits_at(const at::Tensor& tokens, const at::Tensor& positions, Extent extent) = 0;
};

// What a forward over the window computes.
inline Window computed_window(const Window& window, bool shifted) {
  return shifted && window.first > 0 ? Window{window.first - 1, window.count + 1} : window;
}

}  // namespace demask

// Strategies that follow the reverse process of masked diffusion: `ancestral` and `remdm`. One forward a step; the plan
// leaves out steps in which a sample has nothing to reveal.
#pragma once

#include <ATen/core/Tensor.h>

#include "sampling/reveal_policy.h"

namespace demask {

// How many positions are revealed and how many masked again is drawn beforehand (see ancestral_plan); which, is decided
// by the noise: `remasked` of those visible, and of those drawn as many as make up the count. Sources: MDLM (Sahoo et
// al. 2024); ReMDM (Wang et al. 2025), whose cap, rescale and loop give every visible position the same chance.
class AncestralReveal : public RevealPolicy {
 public:
  at::Tensor next_masked(const Proposal& proposal, const Turn& turn) override;
};

// ReMDM's conf: a visible position is masked again with probability sigma * exp(-psi) / sum exp(-psi) over the visible,
// psi the probability under which its token was drawn; a masked one is revealed with the chance that the plan gives.
// Source: Wang et al. 2025, section 4.1.
class ConfidentAncestralReveal : public RevealPolicy {
 public:
  void begin(const at::Tensor& tokens) override;
  at::Tensor next_masked(const Proposal& proposal, const Turn& turn) override;
  bool decides_counts() const override { return true; }

 private:
  at::Tensor psi_;  // [B, T] float32
};

}  // namespace demask

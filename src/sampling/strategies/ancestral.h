// What strategies share that follow the reverse process of masked diffusion (Pacing::follows_the_process). One forward
// a step; the plan leaves out steps in which a sample has nothing to reveal.
#pragma once

#include <ATen/core/Tensor.h>

#include "sampling/reveal_policy.h"

namespace demask {

// How many positions are revealed and how many masked again is drawn beforehand (see ancestral_plan); which, is decided
// by the noise: `remasked` of those visible, and of those drawn as many as make up the count.
class AncestralReveal : public RevealPolicy {
 public:
  Choice next_masked(const Proposal& proposal, const Turn& turn) override;
};

}  // namespace demask

// Strategy `planner`: which tokens stay is planned over all free positions, kept ones included. One forward a step, and
// with a remasking model or confidence_source=rescore two but for the last.
#ifndef DEMASK_POLICIES
#include "sampling/strategies/strategy.h"

namespace demask {

Strategy planner_strategy() {
  Strategy strategy;
  strategy.name = "planner";
  strategy.summary =
      "keeps the tokens with the best scores, kept ones included, by the model itself or by a remasking model";
  strategy.forwards = "N";
  strategy.source = "P2 (Peng et al. 2025), self-planning and planning by a trained model";
  strategy.ranks_by_confidence = true;
  strategy.takes_remasking_model = true;
  strategy.parameters = {{"eta", 1.0, Range{0.0}, "weight of kept tokens' doubt"}};
  strategy.variants = {{"planner", {}}, {"planner-model", {"--remasking_checkpoint_name=remasking.pt"}}};
  return strategy;
}

}  // namespace demask

#else
#include <ATen/ATen.h>

#include "sampling/confidence.h"
#include "sampling/reveal_policy.h"
#include "sampling/strategies/strategy.h"

namespace demask {
namespace {

// Keeps the highest scores: log p of the token where one was just drawn, eta * log q where one was kept. q is p too, or
// in judged turns a remasking model's probability that the token is right. eta 0 keeps what was revealed; above 1, more
// comes back than went.
class PlannerReveal : public RevealPolicy {
 public:
  // Null: no model of its own. right_class: which of the two outputs of `model` means "right".
  PlannerReveal(double eta, CheckedModel* model, int64_t right_class)
      : eta_(eta), model_(model), right_class_(right_class) {}

  Choice next_masked(const Proposal& proposal, const Turn& turn) override {
    const at::Tensor own = token_log_probability(proposal.logits, proposal.tokens, proposal.broken);
    at::Tensor kept = own;
    if (model_ != nullptr && turn.judged) {
      const at::Tensor right = class_probability(model_->logits(proposal.tokens), right_class_, model_->broken());
      if (turn.right != nullptr) {
        *turn.right = right;
      }
      kept = right.log();
    }
    // 0 * -infinity is no number, and an impossible token that is kept must rank last unless eta is 0.
    const at::Tensor planned = eta_ == 0 ? at::zeros_like(kept) : kept * eta_;
    return lowest(at::where(proposal.drawn, own, planned), turn.budget);
  }

  bool reads_logits(bool /*judged*/) const override { return true; }
  bool has_own_model() const override { return model_ != nullptr; }
  int64_t runs_before_recording() const override { return model_ == nullptr ? 1 : model_->runs_before_recording(); }

 private:
  double eta_;
  CheckedModel* model_;
  int64_t right_class_;
};

}  // namespace

std::unique_ptr<RevealPolicy> planner_policy(const DiffusionSettings& settings, CheckedModel* remasking_model) {
  const int64_t right_class = settings.remasking_positive_class == PositiveClass::correct ? 1 : 0;
  return std::make_unique<PlannerReveal>(settings.parameters.number("eta"), remasking_model, right_class);
}

}  // namespace demask
#endif

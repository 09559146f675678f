// Strategy `remask`, the guide's loop: after each step a scheduled number of positions is masked again, kept tokens
// included. One forward a step, and where a second one judges, two but for the last.
#include "sampling/strategies/strategy.h"

namespace demask {
namespace {

bool is_intelligent(const DiffusionSettings& settings) {
  return settings.parameters.flag("intelligent_remasking");
}

double randomness_of(const DiffusionSettings& settings) {
  return settings.parameters.number("randomness_strength");
}

}  // namespace
}  // namespace demask

#ifndef DEMASK_POLICIES
#include <fmt/format.h>

#include "core/error.h"

namespace demask {
namespace {

void check_remask(const DiffusionSettings& settings) {
  if (settings.confidence_source && !is_intelligent(settings)) {
    fail(ExitCode::bad_usage,
         "confidence_source='{}' has no use with intelligent_remasking=False, which masks again at random.",
         name_of(*settings.confidence_source));
  }
}

std::string describe(const DiffusionSettings& settings) {
  if (settings.remasking_checkpoint_name) {
    return fmt::format("by {} (randomness {})", *settings.remasking_checkpoint_name, randomness_of(settings));
  }
  return is_intelligent(settings)
             ? fmt::format("by the model's own confidence (randomness {})", randomness_of(settings))
             : "random";
}

}  // namespace

Strategy remask_strategy() {
  Strategy strategy;
  strategy.name = "remask";
  strategy.summary =
      "the guide's loop: masks again what the model, the remasking model or chance picks, kept tokens included";
  strategy.forwards = "2N - 1";
  strategy.source = "the guide's sample.py";
  strategy.has_ratios = true;
  strategy.ranks_by_confidence = true;
  strategy.takes_remasking_model = true;
  strategy.judge = ConfidenceSource::rescore;
  Parameter intelligent = {
      "intelligent_remasking", true, {}, "mask again what the model doubts, rather than at random"};
  Parameter randomness = {"randomness_strength", 0.4, share,
                          "in choosing what to mask again: 0 is all model, 1 is all chance"};
  intelligent.in_every_configuration = randomness.in_every_configuration = true;
  strategy.parameters = {intelligent, randomness};
  strategy.variants = {{"remask-random", {"--intelligent_remasking=False"}},
                       {"remask-rescore", {}},
                       {"remask-draw", {"--confidence_source=draw"}},
                       {"remasking-model", {"--remasking_checkpoint_name=remasking.pt"}}};
  strategy.check = check_remask;
  strategy.describe = describe;
  return strategy;
}

}  // namespace demask

#else
#include <ATen/ATen.h>

#include "kernels/cuda.h"
#include "sampling/confidence.h"
#include "sampling/reveal_policy.h"

namespace demask {
namespace {

at::Tensor blend(const at::Tensor& doubt, const at::Tensor& noise, double randomness) {
  return doubt * (1 - randomness) + noise * randomness;
}

// Of the model itself, blended.
at::Tensor own_doubt(const Proposal& proposal, const at::Tensor& noise, double randomness) {
  const at::Tensor probability = token_probability(proposal.logits, proposal.tokens, proposal.broken);
  return kernels::cuda::has_kernels_for(probability) ? kernels::cuda::blend_doubt(probability, noise, randomness)
                                                     : blend(1 - probability, noise, randomness);
}

// Highest u.
class RandomRemasking : public RevealPolicy {
 public:
  Choice next_masked(const Proposal& /*proposal*/, const Turn& turn) override {
    return highest(turn.noise, turn.budget);
  }
};

// Highest (1 - r) * (1 - p) + r * u, where p is the model's untempered probability (softmax over all its outputs) of
// the token in place. The guide's "intelligent remasking", which takes p from a second forward on the filled text.
class SelfConfidenceRemasking : public RevealPolicy {
 public:
  // randomness: r in [0, 1].
  explicit SelfConfidenceRemasking(double randomness) : randomness_(randomness) {}
  Choice next_masked(const Proposal& proposal, const Turn& turn) override {
    return highest(own_doubt(proposal, turn.noise, randomness_), turn.budget);
  }
  bool reads_logits(bool /*judged*/) const override { return true; }

 private:
  double randomness_;
};

// Highest (1 - r) * P(wrong) + r * u, P(wrong) from a two-class model of the filled text; in a turn that is not judged
// as SelfConfidenceRemasking. One forward of that model in the others.
class RemaskingModelRemasking : public RevealPolicy {
 public:
  // wrong_class: which of the two outputs means "wrong", 0 or 1. randomness: r in [0, 1].
  RemaskingModelRemasking(CheckedModel& model, int64_t wrong_class, double randomness)
      : model_(model), wrong_class_(wrong_class), randomness_(randomness) {}
  Choice next_masked(const Proposal& proposal, const Turn& turn) override {
    if (!turn.judged) {
      return highest(own_doubt(proposal, turn.noise, randomness_), turn.budget);
    }
    const at::Tensor doubt = class_probability(model_.logits(proposal.tokens), wrong_class_, model_.broken());
    if (turn.right != nullptr) {
      *turn.right = 1 - doubt;
    }
    return highest(blend(doubt, turn.noise, randomness_), turn.budget);
  }
  bool reads_logits(bool judged) const override { return !judged; }
  bool has_own_model() const override { return true; }
  int64_t runs_before_recording() const override { return model_.runs_before_recording(); }

 private:
  CheckedModel& model_;
  int64_t wrong_class_;
  double randomness_;
};

}  // namespace

std::unique_ptr<RevealPolicy> remask_policy(const DiffusionSettings& settings, CheckedModel* remasking_model) {
  if (remasking_model != nullptr) {
    const int64_t wrong_class = settings.remasking_positive_class == PositiveClass::wrong ? 1 : 0;
    return std::make_unique<RemaskingModelRemasking>(*remasking_model, wrong_class, randomness_of(settings));
  }
  if (is_intelligent(settings)) {
    return std::make_unique<SelfConfidenceRemasking>(randomness_of(settings));
  }
  return std::make_unique<RandomRemasking>();
}

}  // namespace demask
#endif

// Masked-diffusion sampling by iterative demasking: predict every masked position, mask some again, repeat.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pattern/token_automaton.h"
#include "sampling/checked_model.h"
#include "sampling/diffusion_settings.h"
#include "sampling/plan.h"
#include "sampling/reveal_policy.h"
#include "sampling/sample.h"
#include "sampling/token_draw.h"
#include "sampling/words.h"

namespace demask {

// What is given and what is to fill.
struct Template {
  std::vector<int64_t> tokens;  // one a position; the mask id where the position is free
  std::vector<bool> fixed;      // one a position
  // Where the text is to match a pattern: that, and how many of the first tokens are no part of the text.
  std::shared_ptr<const TokenAutomaton> pattern = {};
  size_t unshown = 0;

  int64_t length() const { return static_cast<int64_t>(tokens.size()); }
  int64_t free_positions() const;
};

// One sample to draw. The text must outlive the call that it is given to.
struct DiffusionTask {
  Stream stream;
  const Template* text = nullptr;
  bool traced = false;           // the sample comes with a StepTrace
  SampleIdentity identity = {};  // what observers are told
};

// `count` samples of one text, with indices from that of `first` on.
std::vector<DiffusionTask> consecutive(const Stream& first, int64_t count, const Template& text);

struct DiffusionOptions {
  // The steps of a sample with so many free positions; of a policy that decides how many to reveal, how many steps
  // there may be. Pure.
  std::function<Plan(const Stream& stream, int64_t free)> plan;
  bool plan_per_sample = false;  // plans differ from sample to sample
  bool spends_all = false;       // a policy that decides paces itself, so that it takes every step of the plan
  std::optional<int64_t> block_length;
  // Other than none: the model keeps blocks. The first forward of a block is over whole texts, those after it are over
  // the block, with `prefix` and all after it. A remasking model's forwards and the last are over whole texts.
  CacheKind cache = CacheKind::none;
  DrawOptions draw;
  std::optional<double> temperature_end;  // the last step's, above 0
  double temperature_power = 1;           // those between fall as (1 - progress) to this power
  bool draws_in_parts = false;            // whether plans have steps with a draw_share below 1
  // Classifier-free guidance, l_u + (cfg_scale + 1) * (l - l_u), l_u the logits where the fixed tokens are masked too;
  // each forward is then two. 0: off. Source: LLaDA (Nie et al. 2025).
  double cfg_scale = 0;
  // The forward that drew the tokens judges them by its distribution as `draw` filters it, not as it is.
  bool judges_filtered = false;
  int64_t mask_token_id = 0;
  at::Tensor forbidden;  // [V] float32 on the model's device: -inf for ids that are never drawn, else 0
  WordEdges words;       // what the policy reads of the vocabulary's words, undefined where it reads nothing
  // Asked before each step; true: the batch is given up. May be empty.
  std::function<bool()> gives_up = {};
  // Told why a step could not be recorded as a CUDA graph.
  std::function<void(const std::string& reason)> on_unrecordable = [](const std::string&) {};
};

// One demasking step's prediction, a pure function of tensors of fixed shape: the masked positions of tokens [B, T]
// filled from logits [B, T, V] with uniforms [B, T]; forbidden [V] as in draw_tokens. Sets `broken` [] bool where a
// probability is not a number.
Proposal predict(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& masked,
                 const at::Tensor& uniforms, const DrawOptions& draw, const at::Tensor& forbidden,
                 const at::Tensor& broken);

// The same from logits [B, n, V] at the masked positions [B, n] only, of which every text has n.
Proposal predict_at(const at::Tensor& logits, const at::Tensor& positions, const at::Tensor& tokens,
                    const at::Tensor& masked, const at::Tensor& uniforms, const DrawFilters& filters,
                    const at::Tensor& forbidden, const at::Tensor& broken);

struct DiffusionBatch;
enum class Extent;
enum class StepKind;
class StepRunner;

class DiffusionSampler {
 public:
  DiffusionSampler(CheckedModel& model, RevealPolicy& policy, DiffusionOptions options);
  ~DiffusionSampler();
  DiffusionSampler(const DiffusionSampler&) = delete;
  DiffusionSampler& operator=(const DiffusionSampler&) = delete;

  // Draws one sample or more, all in the same tensor operations, each as if it were drawn alone: texts of one length,
  // whose plans judge the same steps; with block_length, of as many free positions. With a cache, texts that are not at
  // the same block in every step are drawn one after the other. `observer` may be null. Throws Error(failed) on
  // non-finite logits, GivenUp where gives_up says so.
  std::vector<DrawnSample> sample(const std::vector<DiffusionTask>& tasks, Observer* observer);

  // One step and one forward on texts that are thrown away, to see what memory they take.
  void try_step(const std::vector<DiffusionTask>& tasks);

  // Forwards so far, of the model and of the policy's: those of the steps, and one a batch for the self-confidence.
  int64_t forwards() const { return forwards_; }

  // The share of the texts' positions that these computed: 1 without a cache.
  double computed_share() const;

 private:
  struct Chain;
  class Beginning;

  // A new chain for samples of this shape, with tables of so many steps.
  void make_chain(const DiffusionBatch& batch, int64_t steps);
  // Makes the chain ready for these samples, as a new one where its shape differs.
  void set_up(const DiffusionBatch& batch);
  // Brings them to the chain's tensors.
  void send(const DiffusionBatch& batch);
  // Whether this device's kernels draw such texts as the host does, tried at the first; says once where they do not.
  bool draws_patterns_on_device(const std::vector<const Template*>& texts);
  std::vector<DrawnSample> sample_each(const std::vector<DiffusionTask>& tasks, Observer* observer);
  bool is_open_ended() const;  // until nothing is masked, whatever the plan
  int64_t forwards_a_call() const;
  // `masked`: positions of all texts that are masked before it.
  void run_step(const DiffusionBatch& batch, int64_t number, int64_t masked, StepView* view);
  // Whether the step's first forward is over whole texts, as that of a block's first step is; chooses the window.
  Extent enter_block(const DiffusionBatch& batch, int64_t number, int64_t masked);
  StepRunner& runner(StepKind kind, Extent extent);
  bool is_small() const;
  // Runs like one that are known or expected to follow it, `known` of them in this batch.
  int64_t runs_to_come(int64_t known) const;
  // The finished texts' [B, T], overwritten by the next batch.
  at::Tensor judge_finished();
  void count_forwards(const DiffusionBatch& batch, StepKind kind, Extent extent);
  // One iteration of every sample of the chain: a pure function of its tensors, of fixed shape. Fills `view`, unless it
  // is null, with tensors. `first`: no other step of this batch came before.
  void step(StepKind kind, Extent extent, StepView* view, bool first);
  // As predict, or with positions as predict_at, for a batch in which texts are to match patterns.
  Proposal predict_matching(const at::Tensor& logits, const at::Tensor& positions, const at::Tensor& drawn,
                            const at::Tensor& uniforms, const DrawOptions& draw);
  at::Tensor column_of(const at::Tensor& row, int64_t column) const;
  Choice choose_masked(StepKind kind, Proposal& proposal, const at::Tensor& eligible, const at::Tensor& waiting,
                       Beginning& beginning);
  // Draws masked.taken, at first all that the step may draw. Where it draws a part of them, that is chosen behind the
  // forward, which does not need it; masked.left are then those that wait.
  Proposal propose(StepKind kind, Extent extent, kernels::cuda::Parted& masked, Beginning& beginning, StepView* view,
                   bool first);
  at::Tensor logits(const at::Tensor& tokens, Extent extent);
  at::Tensor logits_at(const at::Tensor& positions, Extent extent);
  at::Tensor guided_logits(const at::Tensor& tokens, Extent extent);
  DrawOptions draw_of_step(const at::Tensor& numbers) const;

  CheckedModel& model_;
  RevealPolicy& policy_;
  DiffusionOptions options_;
  std::unique_ptr<Chain> chain_;
  std::optional<bool> device_draws_patterns_;  // not known before the first batch with a pattern
  int64_t forwards_ = 0;
  // Positions of all texts and forwards, and those of them that were computed.
  double positions_ = 0, computed_ = 0;
};

}  // namespace demask

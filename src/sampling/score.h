// How likely texts are under a model: log-likelihoods, exact, as a lower bound, or position by position.
//
// Every probability is the model's own: untempered, softmax over all outputs.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "sampling/checked_model.h"
#include "sampling/noise.h"
#include "sampling/sample.h"
#include "sampling/score_settings.h"

namespace demask {

struct ScoreText {
  Stream stream;                // whose random numbers say what a bound's draws mask
  std::vector<int64_t> tokens;  // ids, none of them the mask
  std::vector<bool> scored;     // one a token: true where it is scored, given those that are not; one at least is
};

struct ScoreOptions {
  ScoreMethod method = ScoreMethod::bound;  // not automatic
  int64_t draws = 128;                      // of a bound
  int64_t mask_token_id = 0;                // bound and pseudo
  // As DiffusionOptions::cfg_scale: the tokens that are not scored are the prompt. Bound and pseudo.
  double cfg_scale = 0;
  // Rows of a forward; none: as many as keep the device busy.
  std::optional<int64_t> most_rows;
  // Asked before each forward; true: the texts are given up. May be empty.
  std::function<bool()> gives_up = {};
};

// log p(token), nats, float32 [R, n], of tokens [R, T] at positions [R, n], where the first counts [R, 1] of each row
// are masked together; 0 at the others. The rest of a row is seen; with cfg_scale the logits are guided by `prompt` [R,
// T] bool. All int64 but for `prompt`, which is read with cfg_scale only, on the model's device. One forward.
at::Tensor masked_log_probability(CheckedModel& model, const at::Tensor& tokens, const at::Tensor& positions,
                                  const at::Tensor& counts, const at::Tensor& prompt, const ScoreOptions& options);

class Scorer {
 public:
  // Exact: the model is causal and gives every position. Else it sees the whole text, and knows the mask.
  Scorer(CheckedModel& model, ScoreOptions options);

  // Scores texts together, each as if it were scored alone, whatever their lengths. What is computed is by method:
  //
  // - exact: log p(token | all before). The first token of a text cannot be scored. Of texts longer than the block
  //   each token is judged by a window that shows it at least half a block of what is before it.
  // - bound: each draw chooses l uniformly in 1 .. L of the L scored positions, masks so many of them at random, and
  //   gives L / l times the sum of log p over the masked; their mean is the estimate. A token's share is the mean of
  //   its terms, 0 in draws that do not mask it. Source: LLaDA (Nie et al. 2025), equation 14 and
  //   get_log_likelihood.py.
  // - pseudo: log p(token | all others), each position masked alone. Source: Salazar et al. 2020.
  //
  // `observer` may be null; it is told of forwards as steps, without tensors. Throws Error(failed) on non-finite
  // logits, GivenUp where gives_up says so, c10::ValueError where a text has nothing that can be scored.
  std::vector<TextScore> score(const std::vector<ScoreText>& texts, Observer* observer = nullptr);

  // The same in two parts: gives the device all forwards without waiting for them, and waits for those alone, whatever
  // it was given since. `begin` throws but for non-finite logits, which `finish` does.
  struct UnderWay;
  std::shared_ptr<UnderWay> begin(std::vector<ScoreText> texts, Observer* observer = nullptr);
  std::vector<TextScore> finish(const UnderWay& under_way);

  // How many rows of forwards the text takes.
  int64_t rows_of(const ScoreText& text) const;

  // One forward of so many rows as long as the text's, to see what memory it takes.
  void try_forward(const ScoreText& text, int64_t rows);

  // Makes forwards half as large as the last; false where that was a single row.
  bool halve_rows();

  // Forwards so far; with cfg_scale each counts as two.
  int64_t forwards() const { return forwards_; }

 private:
  int64_t most_judged() const;  // tokens of a forward

  CheckedModel& model_;
  ScoreOptions options_;
  int64_t most_logits_;    // of a forward
  int64_t last_rows_ = 0;  // of the last forward
  int64_t forwards_ = 0;
};

}  // namespace demask

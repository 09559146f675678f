#include "sampling/words.h"

#include <ATen/ATen.h>

#include <tuple>

#include "kernels/doubt.h"

namespace demask {
namespace {

// Of each position the highest score of its word up to there. word [B, T] int64: its number, which never falls.
at::Tensor highest_so_far(const at::Tensor& scores, const at::Tensor& word) {
  constexpr double most = 1e5;  // of a score, so that all of a later word rank above those of an earlier one
  const at::Tensor ranks = word.to(at::kDouble).mul_(3 * most).add_(scores.clamp(-most, most));
  return scores.gather(1, std::get<1>(ranks.cummax(1)));
}

}  // namespace

at::Tensor highest_of_word(const at::Tensor& scores, const at::Tensor& tokens, const at::Tensor& counted,
                           const WordEdges& edges) {
  const auto of_tokens = [&](const at::Tensor& edge) {
    return edge.index_select(0, tokens.flatten()).view_as(tokens).logical_and_(counted);
  };
  const at::Tensor begins = of_tokens(edges.begins_within), ends = of_tokens(edges.ends_within);
  at::Tensor joined = at::zeros_like(begins);  // to the position before
  const int64_t pairs = tokens.size(1) - 1;
  joined.narrow(1, 1, pairs).copy_(begins.narrow(1, 1, pairs).logical_and(ends.narrow(1, 0, pairs)));
  const at::Tensor word = joined.logical_not().cumsum(1);
  const at::Tensor rest = highest_so_far(scores.flip(1), word.flip(1).neg()).flip(1);
  const at::Tensor lengths = at::zeros({word.size(0), word.size(1) + 1}, word.options());
  const at::Tensor length = lengths.scatter_add(1, word, at::ones_like(word)).gather(1, word);
  return at::where(length > kernels::longest_word, scores, at::maximum(highest_so_far(scores, word), rest));
}

}  // namespace demask

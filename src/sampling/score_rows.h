// The rows of forwards that scoring takes, and how what they give makes scores. All on the host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "sampling/noise.h"
#include "sampling/sample.h"
#include "sampling/score.h"

namespace demask {

// A row of a forward: a text, or of an autoregressive model a window of one.
struct ScoreRow {
  size_t text = 0;     // whose
  int64_t start = 0;   // where the row begins in the text
  int64_t length = 0;  // tokens
  int64_t count = 0;   // tokens judged
  // Of a bound the draw; of pseudo the position that is masked; of exact where the first token stands that is judged.
  int64_t number = 0;
};

// The rows of text number `text`. `block` is the model's, 0 where it has none.
void append_rows(const ScoreText& text, size_t number, const ScoreOptions& options, int64_t block,
                 std::vector<ScoreRow>& rows);

// How many positions each of `draws` draws masks, of `length` that are scored: uniform in 1 .. length, stratified by
// two draws a stratum, three in the last where they are odd.
std::vector<int64_t> masked_counts(const Stream& stream, int64_t draws, int64_t length);

// The mean of draws from the strata of masked_counts, and the standard error of that mean: none for a single draw.
struct Estimate {
  double mean = 0;
  std::optional<double> standard_error;
};
Estimate estimate(const std::vector<double>& draws);

// Collects what the rows of one text give.
class ScoreSum {
 public:
  // `text` must outlive the sum.
  ScoreSum(const ScoreText& text, const ScoreOptions& options);

  // log p of the row's judged tokens, nats, and of a bound where these stand (else null). In any order of rows of which
  // that of a text does not depend on the texts beside it.
  void add(const ScoreRow& row, const float* log_probability, const int32_t* positions);

  TextScore finish() const;

 private:
  const ScoreText& text_;
  ScoreMethod method_;
  std::vector<int64_t> rank_;  // of each token among those that are scored
  std::vector<double> each_;   // of each scored token
  std::vector<double> draws_;  // of a bound
};

}  // namespace demask

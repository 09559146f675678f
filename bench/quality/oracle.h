// How far the distribution that a strategy samples from lies from the model's own, where that is known.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/quality/hidden_markov.h"
#include "bench/quality/strategies.h"

namespace demask::quality {

// Half the sum of |counts / their sum - probabilities|: the share of all texts that come out otherwise than they
// should. Both [n].
double total_variation(const at::Tensor& counts, const at::Tensor& probabilities);

// What total_variation gives on average for `draws` texts drawn from the probabilities [n] themselves: chance alone.
// Source: the binomial's mean deviation (De Moivre; Diaconis and Zabell, Closed form summation for classical
// distributions, 1991). One text more or less moves the distance by at most 1 / draws, so that it leaves its mean by
// more than x with a probability of at most 2 exp(-2 draws x^2) (McDiarmid, 1989).
double expected_total_variation(const at::Tensor& probabilities, int64_t draws);

// Texts of a hidden Markov chain, drawn by demask with exact conditionals.
class Oracle {
 public:
  Oracle(const HiddenMarkovChain& chain, int64_t length);

  const at::Tensor& probabilities() const { return probabilities_; }  // of every text, as HiddenMarkovModel has them

  struct Draw {
    at::Tensor counts;    // float64, how often each text was drawn, in the order of `probabilities`
    double forwards = 0;  // spent on each text, every one counted
  };
  // With demask's arguments for diffusion, but for the model and what samples. A strategy that brings no temperature of
  // its own draws at 1 unless they say otherwise. Throws what demask throws where it refuses them.
  Draw draw(const std::vector<std::string>& arguments, int64_t texts, uint64_t seed) const;

 private:
  HiddenMarkovChain chain_;
  int64_t length_;
  at::Tensor probabilities_;
};

struct OracleTask {
  std::vector<int64_t> budgets = {2, 3, 6, 12, 24, 48};  // forwards
  std::vector<double> temperatures;                      // none: as Oracle::draw
  std::vector<int64_t> seeds;                            // texts are divided among them
};

// A table of every strategy's distance at every budget, on texts of six symbols of example_chain; its first row is
// chance alone. Left out are strategies that need a remasking model, for there is none of the chain, and budgets that a
// strategy which only reveals cannot spend on six positions. A row that fails is reported on stderr and in the rows
// returned, and the others run.
nlohmann::ordered_json compare_with_oracle(const std::vector<Strategy>& strategies, const OracleTask& task,
                                           std::FILE* file);

}  // namespace demask::quality

#include "sampling/doubt.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "kernels/cuda.h"
#include "model/device.h"
#include "tests/support/catch.h"

using namespace demask;

namespace {

// whole: with all that may be left undefined.
kernels::DoubtTerms random_terms(int64_t batch, int64_t length, int64_t outputs, bool whole) {
  kernels::DoubtTerms terms;
  terms.log_probability = at::rand({batch, length}).mul(4).neg();
  terms.tokens = at::randint(outputs, {batch, length}, at::kLong);
  terms.drawn = at::rand({batch, length}) < 0.5;
  terms.eligible = at::rand({batch, length}) < 0.9;
  terms.noise = at::rand({batch, length}).clamp(1e-6, 1 - 1e-6);
  // Columns of a table, as a step has them.
  const at::Tensor numbers = at::rand({batch, 5}).add(0.5);
  terms.noise_scale = numbers.narrow(1, 1, 1);
  terms.noise_left = numbers.narrow(1, 3, 1);
  terms.begins_within = at::rand({outputs}) < 0.7;
  terms.ends_within = at::rand({outputs}) < 0.8;
  if (whole) {
    terms.waiting = terms.eligible.logical_and(at::rand({batch, length}) < 0.1);
    terms.vocabulary_noise = at::rand({batch, 1}).mul(3);
    terms.weight = at::rand({batch, outputs}).mul(2);
  }
  return terms;
}

kernels::DoubtTerms on(kernels::DoubtTerms terms, at::Device device) {
  for (at::Tensor* each : {&terms.log_probability, &terms.tokens, &terms.drawn, &terms.eligible, &terms.waiting,
                           &terms.noise, &terms.noise_scale, &terms.noise_left, &terms.vocabulary_noise, &terms.weight,
                           &terms.begins_within, &terms.ends_within}) {
    *each = each->defined() ? each->to(device) : *each;
  }
  return terms;
}

// The formula of kernels/doubt.h, position by position, as a walk over the texts finds their words.
at::Tensor doubt_in_double(const kernels::DoubtTerms& terms, const kernels::DoubtRule& rule) {
  const int64_t batch = terms.tokens.size(0), length = terms.tokens.size(1);
  at::Tensor doubt = at::empty({batch, length}, at::kDouble);
  const auto flag = [](const at::Tensor& flags, int64_t b, int64_t t) {
    return flags.defined() && flags[b][t].item<bool>();
  };
  const auto gumbel = [](double uniform) { return -std::log(-std::log(uniform)); };
  for (int64_t b = 0; b < batch; ++b) {
    const auto token = [&](int64_t t) { return terms.tokens[b][t].item<int64_t>(); };
    const auto shown = [&](int64_t t) { return flag(terms.eligible, b, t) && !flag(terms.waiting, b, t); };
    const auto goes_on = [&](int64_t t) {
      return shown(t) && shown(t - 1) && terms.begins_within[token(t)].item<bool>() &&
             terms.ends_within[token(t - 1)].item<bool>();
    };
    const double vocabulary = terms.vocabulary_noise.defined() ? terms.vocabulary_noise[b][0].item<double>() : 0;
    const double scale = rule.choice_temperature * std::hypot(terms.noise_scale[b][0].item<double>(), vocabulary) *
                         terms.noise_left[b][0].item<double>();
    std::vector<double> surprise, noise;
    for (int64_t t = 0; t < length; ++t) {
      const double weight = terms.weight.defined() ? terms.weight[b][token(t)].item<double>() : 1;
      surprise.push_back(-terms.log_probability[b][t].item<double>() * weight);
      noise.push_back(gumbel(terms.noise[b][t].item<double>()));
    }
    for (int64_t first = 0, next = 1; first < length; first = next++) {
      while (next < length && goes_on(next)) {
        ++next;
      }
      const bool is_word = next - first <= 64;
      const double most = *std::max_element(surprise.begin() + first, surprise.begin() + next);
      const double least = *std::min_element(noise.begin() + first, noise.begin() + next);
      for (int64_t t = first; t < next; ++t) {
        const auto at = static_cast<size_t>(t);
        const double of_word = surprise[at] + (is_word ? rule.word_share : 0) * (most - surprise[at]);
        const double own_noise = noise[at] + (is_word ? rule.noise_share : 0) * (least - noise[at]);
        const double bonus = flag(terms.drawn, b, t) ? rule.new_token_bonus : 0;
        doubt[b][t] = flag(terms.waiting, b, t) ? kernels::last_masked : of_word - bonus - scale * own_noise;
      }
    }
  }
  return doubt;
}

}  // namespace

TEST_CASE("The doubt of each position is the rule's, in float64, on both devices") {
  at::manual_seed(11);
  const bool has_device = kernels::cuda::built() && cuda_device_count() > 0;
  for (const auto& [batch, length, outputs] :
       std::vector<std::array<int64_t, 3>>{{1, 1, 3}, {3, 257, 66}, {2, 600, 4097}}) {
    for (const double share : {0.0, 0.3, 1.0}) {
      CAPTURE(batch, length, outputs, share);
      kernels::DoubtTerms terms = random_terms(batch, length, outputs, /*whole=*/share != 0.3);
      if (length == 257) {
        terms.begins_within.fill_(true);  // runs around the longest word
        terms.ends_within.fill_(true);
        terms.eligible.copy_(at::rand({batch, length}) < 0.985);
        terms.waiting.reset();
      }
      kernels::DoubtRule rule;
      rule.word_share = share;
      rule.noise_share = share == 0.3 ? 0 : 0.9 * share;
      rule.new_token_bonus = 1.2;
      rule.choice_temperature = share == 0 ? 0 : 0.8;
      const at::Tensor expected = doubt_in_double(terms, rule);
      CHECK(at::allclose(doubt(terms, rule).to(at::kDouble), expected, 1e-4, 1e-4));
      if (has_device) {
        CHECK(at::allclose(doubt(on(terms, at::kCUDA), rule).cpu().to(at::kDouble), expected, 1e-4, 1e-4));
      }
    }
  }
}

#include "sampling/score_rows.h"

#include <algorithm>
#include <cmath>

namespace demask {
namespace {

int64_t scored_tokens(const ScoreText& text) {
  return std::count(text.scored.begin(), text.scored.end(), true);
}

// Windows of at most `block` tokens, each half a block after the one before: a token is judged by the first that has
// it, so that all but those of the first window see half a block before them at least.
void append_windows(const ScoreText& text, size_t number, int64_t block, std::vector<ScoreRow>& rows) {
  const auto last = static_cast<int64_t>(text.tokens.size()) - 1;  // nothing follows the last token
  const int64_t width = block > 0 ? std::min(block, last) : last, stride = std::max<int64_t>(1, width - width / 2);
  int64_t judged = 1;  // all tokens before it have been
  for (int64_t start = 0; judged <= last; start += stride) {
    ScoreRow row;
    row.text = number;
    row.start = start;
    row.length = std::min(width, last - start);
    row.number = judged;
    const auto begin = text.scored.begin();
    row.count = std::count(begin + judged, begin + start + row.length + 1, true);
    judged = start + row.length + 1;
    if (row.count > 0) {
      rows.push_back(row);
    }
  }
}

// Of `draws` draws from the one numbered `first` on, how many share its stratum.
int64_t stratum_size(int64_t first, int64_t draws) {
  return draws - first <= 3 ? draws - first : 2;
}

}  // namespace

void append_rows(const ScoreText& text, size_t number, const ScoreOptions& options, int64_t block,
                 std::vector<ScoreRow>& rows) {
  const auto length = static_cast<int64_t>(text.tokens.size());
  switch (options.method) {
    case ScoreMethod::exact:
      append_windows(text, number, block, rows);
      return;
    case ScoreMethod::pseudo:
      for (int64_t position = 0; position < length; ++position) {
        if (text.scored[static_cast<size_t>(position)]) {
          rows.push_back({number, 0, length, 1, position});
        }
      }
      return;
    case ScoreMethod::bound:
    case ScoreMethod::automatic:
      break;
  }
  const std::vector<int64_t> counts = masked_counts(text.stream, options.draws, scored_tokens(text));
  for (size_t draw = 0; draw < counts.size(); ++draw) {
    rows.push_back({number, 0, length, counts[draw], static_cast<int64_t>(draw)});
  }
}

std::vector<int64_t> masked_counts(const Stream& stream, int64_t draws, int64_t length) {
  std::vector<int64_t> counts;
  counts.reserve(static_cast<size_t>(draws));
  for (int64_t first = 0; first < draws;) {
    const int64_t size = stratum_size(first, draws);
    for (int64_t draw = first; draw < first + size; ++draw) {
      const auto u = static_cast<double>(uniform_at(stream, draw, 0, Purpose::score_count));
      const double share = (static_cast<double>(first) + static_cast<double>(size) * u) / static_cast<double>(draws);
      const auto below = static_cast<int64_t>(std::floor(share * static_cast<double>(length)));
      counts.push_back(1 + std::min(below, length - 1));
    }
    first += size;
  }
  return counts;
}

// Within a stratum the draws are independent and alike, so that their sample variance is an unbiased estimate of
// theirs, and the sum over strata one of the sum's.
Estimate estimate(const std::vector<double>& draws) {
  const auto all = static_cast<int64_t>(draws.size());
  double sum = 0, variance_of_sum = 0;
  for (int64_t first = 0; first < all;) {
    const int64_t size = stratum_size(first, all);
    const auto begin = draws.begin() + first;
    double stratum = 0;
    std::for_each(begin, begin + size, [&](double x) { stratum += x; });
    const double mean = stratum / static_cast<double>(size);
    double squares = 0;
    std::for_each(begin, begin + size, [&](double x) { squares += (x - mean) * (x - mean); });
    variance_of_sum += size > 1 ? squares * static_cast<double>(size) / static_cast<double>(size - 1) : 0;
    sum += stratum;
    first += size;
  }
  const auto count = static_cast<double>(all);
  return {sum / count, all > 1 ? std::optional<double>(std::sqrt(variance_of_sum) / count) : std::nullopt};
}

ScoreSum::ScoreSum(const ScoreText& text, const ScoreOptions& options)
    : text_(text), method_(options.method), rank_(text.tokens.size(), -1) {
  int64_t scored = 0;
  for (size_t place = 0; place < rank_.size(); ++place) {
    rank_[place] = text.scored[place] ? scored++ : -1;
  }
  each_.assign(static_cast<size_t>(scored), 0);
  draws_.assign(static_cast<size_t>(method_ == ScoreMethod::bound ? options.draws : 0), 0);
}

void ScoreSum::add(const ScoreRow& row, const float* log_probability, const int32_t* positions) {
  const auto share = [this](int64_t place) -> double& {
    return each_[static_cast<size_t>(rank_[static_cast<size_t>(place)])];
  };
  if (method_ != ScoreMethod::bound) {
    for (int64_t place = row.number, judged = 0; judged < row.count; ++place) {
      if (text_.scored[static_cast<size_t>(place)]) {
        share(place) = static_cast<double>(log_probability[judged++]);
      }
    }
    return;
  }
  const double weight = static_cast<double>(each_.size()) / static_cast<double>(row.count);
  double sum = 0;
  for (int64_t k = 0; k < row.count; ++k) {
    const auto term = static_cast<double>(log_probability[k]);
    sum += term;
    share(positions[k]) += term * weight / static_cast<double>(draws_.size());
  }
  draws_[static_cast<size_t>(row.number)] = sum * weight;
}

TextScore ScoreSum::finish() const {
  TextScore score;
  score.method = method_;
  score.each = each_;
  if (method_ == ScoreMethod::bound) {
    const Estimate bound = estimate(draws_);
    score.log_likelihood = bound.mean;
    score.standard_error = bound.standard_error;
    return score;
  }
  for (const double token : each_) {
    score.log_likelihood += token;
  }
  return score;
}

}  // namespace demask

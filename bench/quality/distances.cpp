#include "bench/quality/distances.h"

#include <algorithm>
#include <cmath>

#include "engine/collapse_watch.h"

namespace demask::quality {
namespace {

constexpr size_t most_groups = 20;  // of the jackknife

double standard_deviation(const std::vector<double>& values) {
  return estimate_mean(values).standard_error * std::sqrt(static_cast<double>(values.size()));
}

}  // namespace

double wasserstein(std::vector<double> left, std::vector<double> right) {
  if (left.empty() || right.empty()) {
    return Estimate{}.value;
  }
  std::sort(left.begin(), left.end());
  std::sort(right.begin(), right.end());
  double distance = 0;
  size_t i = 0, j = 0;  // how many of each have been passed
  double last = std::min(left.front(), right.front());
  while (i < left.size() || j < right.size()) {
    const bool from_left = j == right.size() || (i < left.size() && left[i] <= right[j]);
    const double next = from_left ? left[i] : right[j];
    distance += (next - last) * std::abs(static_cast<double>(i) / static_cast<double>(left.size()) -
                                         static_cast<double>(j) / static_cast<double>(right.size()));
    ++(from_left ? i : j);
    last = next;
  }
  return distance;
}

void Reference::Profile::add_values(const Profile& other) {
  for (size_t i = 0; i < values.size(); ++i) {
    values[i].insert(values[i].end(), other.values[i].begin(), other.values[i].end());
  }
}

void Reference::Profile::add_ngrams(const Profile& other, int64_t times) {
  for (size_t n = 0; n < ngrams.size(); ++n) {
    ngrams[n].add(other.ngrams[n], times);
  }
}

Reference::Profile Reference::profile(const std::vector<std::string>& texts, const Readings& readings, size_t first,
                                      size_t step) const {
  Profile profile;
  const auto take = [](std::vector<double>& values, double value) {
    if (!std::isnan(value)) {
      values.push_back(value);
    }
  };
  for (size_t i = first; i < texts.size(); i += step) {
    const Ids& tokens = readings.tokens[i];
    take(profile.values[0], readings.nats[i]);
    take(profile.values[1], word_share({texts[i]}, words_).value);
    take(profile.values[2], distinct_4grams(tokens));
    take(profile.values[3], token_entropy({tokens}).value);
    for (size_t n = 1; n <= profile.ngrams.size(); ++n) {
      profile.ngrams[n - 1].add(tokens, n);
    }
  }
  return profile;
}

Reference::Reference(const std::vector<std::string>& texts, const Readings& readings, const WordSet& words)
    : words_(words), held_out_(profile(texts, readings, 0, 1)) {
  const size_t values = held_out_.values.size();
  for (size_t i = 0; i < values; ++i) {
    units_[i] = standard_deviation(held_out_.values[i]);
  }
  for (size_t n = 1; n <= held_out_.ngrams.size(); ++n) {
    std::vector<double> divergences;
    for (const Ids& text : readings.tokens) {
      NgramCounts alone;
      alone.add(text, n);
      divergences.push_back(jensen_shannon(alone, held_out_.ngrams[n - 1]));
    }
    units_[values + n - 1] = estimate_mean(divergences).value;
  }
}

Terms Reference::terms_of(const Profile& texts) const {
  Terms terms;
  const size_t values = held_out_.values.size();
  for (size_t i = 0; i < values; ++i) {
    terms[i] = wasserstein(texts.values[i], held_out_.values[i]);
  }
  for (size_t n = 0; n < held_out_.ngrams.size(); ++n) {
    terms[values + n] = jensen_shannon(texts.ngrams[n], held_out_.ngrams[n]);
  }
  return terms;
}

double Reference::sum(const Terms& terms) const {
  double sum = 0;
  for (size_t i = 0; i < terms.size(); ++i) {
    sum += units_[i] > 0 ? terms[i] / units_[i] : 0;
  }
  return sum;
}

Distances Reference::distances(const std::vector<std::string>& texts, const Readings& readings) const {
  const size_t count = std::min(most_groups, texts.size());
  std::vector<Profile> groups;
  Profile all;
  for (size_t g = 0; g < count; ++g) {
    groups.push_back(profile(texts, readings, g, count));
    all.add_values(groups.back());
    all.add_ngrams(groups.back(), 1);
  }
  std::array<std::vector<double>, distance_terms.size()> without_one;
  std::vector<double> sums;
  for (size_t g = 0; count > 1 && g < count; ++g) {
    Profile rest;
    for (size_t other = 0; other < count; ++other) {
      if (other != g) {
        rest.add_values(groups[other]);
      }
    }
    rest.ngrams = all.ngrams;
    rest.add_ngrams(groups[g], -1);
    const Terms terms = terms_of(rest);
    for (size_t i = 0; i < terms.size(); ++i) {
      without_one[i].push_back(terms[i]);
    }
    sums.push_back(sum(terms));
  }
  const Terms terms = terms_of(all);
  Distances distances;
  for (size_t i = 0; i < terms.size(); ++i) {
    distances.terms[i] = {terms[i], jackknife_error(without_one[i])};
  }
  distances.sum = {sum(terms), jackknife_error(sums)};
  return distances;
}

}  // namespace demask::quality

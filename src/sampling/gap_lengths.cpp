#include "sampling/gap_lengths.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

#include "sampling/confidence.h"
#include "sampling/matching_draw.h"

namespace demask {

Template with_lengths(const Template& longest, const std::vector<Gap>& gaps, const std::vector<int64_t>& lengths) {
  Template text;
  text.pattern = longest.pattern;
  text.unshown = longest.unshown;
  int64_t start = 0;
  const auto append = [&](int64_t end) {
    text.tokens.insert(text.tokens.end(), longest.tokens.begin() + start, longest.tokens.begin() + end);
    text.fixed.insert(text.fixed.end(), longest.fixed.begin() + start, longest.fixed.begin() + end);
  };
  for (size_t k = 0; k < gaps.size(); ++k) {
    append(gaps[k].first + lengths[k]);
    start = gaps[k].first + gaps[k].most;
  }
  append(longest.length());
  return text;
}

bool may_match(const Template& longest, const std::vector<Gap>& gaps, const std::vector<int64_t>& lengths) {
  if (!longest.pattern) {
    return true;
  }
  std::vector<OpenRun> runs;
  for (size_t k = 0; k < gaps.size(); ++k) {
    const bool known = k < lengths.size();
    runs.push_back({static_cast<size_t>(gaps[k].first), static_cast<size_t>(gaps[k].most),
                    static_cast<size_t>(known ? lengths[k] : gaps[k].least),
                    static_cast<size_t>(known ? lengths[k] : gaps[k].most)});
  }
  return has_completion(*longest.pattern, partial_text(longest), runs);
}

// Texts [rows, T], each with one masked position that is asked for its token.
struct GapChooser::Questions {
  std::vector<int64_t> tokens;     // rows * T
  std::vector<int64_t> positions;  // one a row
  std::vector<int64_t> answers;    // one a row: the token that stands there
};

namespace {

// A probability of 0 counts as this many nats: it rules a length out, and leaves the others comparable.
constexpr double least_log_probability = -1e4;

constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

int64_t middle(const Gap& gap) {
  return gap.least + (gap.most - gap.least) / 2;
}

// The fixed tokens next to a gap, up to the gaps next to it, nearest first.
struct Surroundings {
  std::vector<int64_t> left, right;  // positions

  size_t size() const { return left.size() + right.size(); }
};

// Of the gap with this number, in a text with these lengths.
Surroundings surroundings(const Template& text, const std::vector<Gap>& gaps, const std::vector<int64_t>& lengths,
                          size_t own) {
  std::vector<int64_t> edges = {0};  // where fixed parts and gaps begin in turn
  int64_t missing = 0;
  for (size_t k = 0; k < gaps.size(); ++k) {
    edges.push_back(gaps[k].first - missing);
    edges.push_back(edges.back() + lengths[k]);
    missing += gaps[k].most - lengths[k];
  }
  edges.push_back(text.length());
  Surroundings found;
  const auto take = [&text](std::vector<int64_t>& side, int64_t position) {
    if (text.fixed[static_cast<size_t>(position)] && static_cast<int64_t>(side.size()) < tokens_asked) {
      side.push_back(position);
    }
  };
  const size_t begin = 2 * own + 1;  // of the gap among the edges
  for (int64_t position = edges[begin] - 1; position >= edges[begin - 1]; --position) {
    take(found.left, position);
  }
  for (int64_t position = edges[begin + 1]; position < edges[begin + 2]; ++position) {
    take(found.right, position);
  }
  return found;
}

// The likeliest; of those that no rounding tells apart, the middle one.
size_t likeliest_of(const std::vector<double>& log_probability) {
  constexpr double rounding = 1e-5;
  const double most = *std::max_element(log_probability.begin(), log_probability.end());
  std::vector<size_t> best;
  for (size_t k = 0; k < log_probability.size(); ++k) {
    if (log_probability[k] >= most - rounding) {
      best.push_back(k);
    }
  }
  return best[(best.size() - 1) / 2];
}

size_t draw_from(const std::vector<double>& log_probability, double uniform) {
  const double most = *std::max_element(log_probability.begin(), log_probability.end());
  double total = 0;
  for (const double value : log_probability) {
    total += std::exp(value - most);
  }
  double reached = 0;
  size_t last = 0;
  for (size_t k = 0; k < log_probability.size() && reached <= uniform * total; ++k) {
    const double share = std::exp(log_probability[k] - most);
    reached += share;
    last = share > 0 ? k : last;  // should rounding leave the sum below the threshold
  }
  return last;
}

}  // namespace

GapChooser::GapChooser(CheckedModel& model, int64_t mask_token_id, bool likeliest)
    : model_(model), mask_token_id_(mask_token_id), likeliest_(likeliest) {}

std::vector<double> GapChooser::ask(const Questions& questions) {
  if (questions.positions.empty()) {
    return {};
  }
  const c10::InferenceMode inference;
  const auto table = [&](const std::vector<int64_t>& values) {
    const auto rows = static_cast<int64_t>(questions.positions.size());
    at::Tensor on_host = at::empty({rows, static_cast<int64_t>(values.size()) / rows}, at::kLong);
    std::copy(values.begin(), values.end(), on_host.data_ptr<int64_t>());
    return on_host.to(model_.device());
  };
  const at::Tensor logits = model_.logits_at(table(questions.tokens), table(questions.positions));
  // Waits for the device: what is on its way to the host must not be read, nor be made doubles of.
  const at::Tensor known =
      token_log_probability(logits, table(questions.answers), model_.broken()).to(at::kCPU, at::kDouble).contiguous();
  ++forwards_;
  model_.check();
  std::vector<double> answers(questions.positions.size());
  std::transform(known.data_ptr<double>(), known.data_ptr<double>() + answers.size(), answers.begin(),
                 [](double value) { return std::max(value, least_log_probability); });
  return answers;
}

LengthEvidence GapChooser::evidence(const Template& longest, const std::vector<Gap>& gaps,
                                    const std::vector<int64_t>& lengths, int64_t most_rows) {
  const size_t own = lengths.size();
  const Gap& gap = gaps[own];
  std::vector<int64_t> all = lengths;
  std::transform(gaps.begin() + static_cast<std::ptrdiff_t>(own), gaps.end(), std::back_inserter(all), middle);

  LengthEvidence evidence;
  Questions questions;
  std::vector<size_t> asked, places;  // questions, of each length that is not answered yet, and which that is
  const auto answer = [&] {
    const std::vector<double> answers = ask(questions);
    auto next = answers.begin();
    for (size_t k = 0; k < asked.size(); ++k) {
      const auto end = next + static_cast<std::ptrdiff_t>(asked[k]);
      evidence.log_probability[places[k]] = std::accumulate(next, end, 0.0);
      next = end;
    }
    questions = {};
    asked.clear();
    places.clear();
  };
  evidence.log_probability.assign(static_cast<size_t>(gap.most - gap.least) + 1, minus_infinity);
  for (all[own] = gap.least; all[own] <= gap.most; ++all[own]) {
    if (!may_match(longest, gaps, {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(own) + 1})) {
      continue;
    }
    const Template text = with_lengths(longest, gaps, all);
    const Surroundings around = surroundings(text, gaps, all, own);
    if (questions.positions.size() + around.size() > static_cast<size_t>(most_rows)) {
      answer();
    }
    for (const std::vector<int64_t>& side : {around.left, around.right}) {
      // Masks at the end make all texts equally long: to a model they are a text that goes on.
      std::vector<int64_t> tokens = text.tokens;
      tokens.resize(longest.tokens.size(), mask_token_id_);
      for (const int64_t position : side) {
        questions.answers.push_back(std::exchange(tokens[static_cast<size_t>(position)], mask_token_id_));
        questions.positions.push_back(position);
        questions.tokens.insert(questions.tokens.end(), tokens.begin(), tokens.end());
      }
    }
    asked.push_back(around.size());
    places.push_back(static_cast<size_t>(all[own] - gap.least));
  }
  answer();
  return evidence;
}

std::vector<std::vector<int64_t>> GapChooser::choose(const std::vector<GapTask>& tasks, int64_t most_rows) {
  std::vector<std::vector<int64_t>> chosen(tasks.size());
  bool complete = false;
  for (int64_t turn = 0; !complete; ++turn) {
    complete = true;
    std::map<std::pair<const Template*, std::vector<int64_t>>, LengthEvidence> known;
    for (size_t k = 0; k < tasks.size(); ++k) {
      const GapTask& task = tasks[k];
      if (chosen[k].size() == task.gaps->size()) {
        continue;
      }
      complete = false;
      const auto [found, is_new] = known.try_emplace({task.longest, chosen[k]});
      if (is_new) {
        found->second = evidence(*task.longest, *task.gaps, chosen[k], most_rows);
      }
      const std::vector<double>& log_probability = found->second.log_probability;
      const size_t place = likeliest_
                               ? likeliest_of(log_probability)
                               : draw_from(log_probability, uniform_at(task.stream, turn, 0, Purpose::gap_length));
      chosen[k].push_back((*task.gaps)[static_cast<size_t>(turn)].least + static_cast<int64_t>(place));
    }
  }
  return chosen;
}

}  // namespace demask

#include "sampling/match_tracker.h"

#include <algorithm>
#include <limits>

namespace demask {

MatchTracker::MatchTracker(const MatchRule& rule, const std::vector<int64_t>& given, int64_t new_tokens)
    : rule_(&rule), left_(new_tokens) {
  if (rule.pattern == nullptr) {
    return;
  }
  for (auto i = static_cast<size_t>(rule.unshown); i < given.size() && state_ != TokenAutomaton::none; ++i) {
    state_ = rule.pattern->next_given(state_, given[i]);
  }
}

bool MatchTracker::permits(int64_t id) const {
  if (is_free()) {
    return true;
  }
  const int32_t next = rule_->pattern->next_drawn(state_, id);
  return next != TokenAutomaton::none && rule_->reachable->from(next, left_ - 1);
}

void MatchTracker::write_bias(float* bias, int64_t outputs) const {
  if (is_free()) {
    std::fill_n(bias, outputs, 0.0F);
    return;
  }
  const TokenAutomaton& pattern = *rule_->pattern;
  std::vector<bool> permitted(static_cast<size_t>(pattern.classes()), false);
  pattern.for_each_edge(state_, [&](const TokenAutomaton::Edge& edge) {
    permitted[static_cast<size_t>(edge.token_class)] = rule_->reachable->from(edge.next, left_ - 1);
  });
  for (int64_t id = 0; id < outputs; ++id) {
    const int32_t c = pattern.class_of(id);
    const bool may = c != TokenAutomaton::none && permitted[static_cast<size_t>(c)];
    bias[id] = may ? 0.0F : -std::numeric_limits<float>::infinity();
  }
}

void MatchTracker::append(int64_t id) {
  if (!is_free()) {
    state_ = rule_->pattern->next_drawn(state_, id);
    --left_;
  }
}

}  // namespace demask

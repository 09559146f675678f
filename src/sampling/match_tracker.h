// Standard sampling of texts that are to match patterns: which tokens may come next.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "pattern/reachable.h"
#include "pattern/token_automaton.h"

namespace demask {

// What a text of standard sampling is to match.
struct MatchRule {
  std::shared_ptr<const TokenAutomaton> pattern;  // null: anything
  std::shared_ptr<const Reachable> reachable;     // for as many tokens as the text has
  int64_t unshown = 0;                            // of its first tokens, which are no part of the text
};

// One text as far as it has grown.
class MatchTracker {
 public:
  // A text that begins with the given tokens and gains new_tokens, of which some can make it a match. `rule` must
  // outlive it.
  MatchTracker(const MatchRule& rule, const std::vector<int64_t>& given, int64_t new_tokens);

  // Whether the token may come next: one after which exactly as many tokens as are still to come can make a match.
  // Any may where there is no pattern, or once the text has all its tokens.
  bool permits(int64_t id) const;
  // Writes 0 for each id that may come next, and -infinity for others.
  void write_bias(float* bias, int64_t outputs) const;
  void append(int64_t id);

 private:
  bool is_free() const { return rule_->pattern == nullptr || left_ == 0; }

  const MatchRule* rule_;
  int32_t state_ = TokenAutomaton::start();
  int64_t left_ = 0;  // tokens
};

}  // namespace demask

// The patterns that prompts and settings give, ready for the run's vocabulary.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "demask/sample.h"
#include "engine/context.h"
#include "pattern/completions.h"

namespace demask {

// A pattern and, for standard sampling, which of its states can still come to a match.
struct PreparedPattern {
  std::shared_ptr<const TokenAutomaton> automaton;
  std::shared_ptr<const Reachable> reachable;
};

// Makes each pattern's automaton once, as long as few others come between. For any number of threads.
class Patterns {
 public:
  // Reads the settings' own pattern and words. `context` must outlive it. Throws Error as own_pattern, read_word_list
  // and word_automaton.
  explicit Patterns(const Context& context);

  // What a prompt's texts keep to: its pattern, else the settings', and the settings' list of words; null where there
  // is none of them. Throws Error(bad_usage) as compile_rule.
  std::shared_ptr<const TokenAutomaton> of(const Prompt& prompt);
  std::shared_ptr<const Reachable> reachable(const std::shared_ptr<const TokenAutomaton>& automaton, int64_t tokens);

  // Throws Error(bad_usage) where no completion of the text matches: with the lengths that do, and the first given
  // position that contradicts.
  void check_has_completion(const std::shared_ptr<const TokenAutomaton>& automaton, const PartialText& text);

  // Throws Error(bad_usage), for a template `key` of which no lengths of the gaps make a match.
  [[noreturn]] void refuse_gaps(const std::shared_ptr<const TokenAutomaton>& automaton, const std::string& key);

 private:
  // What messages call the rule that an automaton of this was made of.
  std::string name_of(const std::shared_ptr<const TokenAutomaton>& automaton);

  template <typename Key, typename Made>
  using Recent = std::deque<std::pair<Key, std::shared_ptr<const Made>>>;
  using ReachableKey = std::pair<std::shared_ptr<const TokenAutomaton>, int64_t>;

  const Context& context_;
  std::optional<std::string> own_;
  std::optional<ByteAutomaton> words_;  // texts that are spelt with the settings' list
  std::mutex mutex_;
  Recent<std::optional<std::string>, TokenAutomaton> automata_;
  Recent<ReachableKey, Reachable> reachable_;
};

// A line for people: how large the pattern's automaton is.
std::string describe_pattern(const TokenAutomaton& automaton);

}  // namespace demask

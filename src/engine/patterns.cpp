#include "engine/patterns.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/error.h"
#include "core/notice.h"
#include "core/text.h"
#include "engine/prompt_tokens.h"
#include "pattern/word_automaton.h"
#include "pattern/word_list.h"

namespace demask {
namespace {

// Enough for a list whose prompts share a few patterns; one of them may take a hundred megabytes.
constexpr size_t most_kept = 16;

// The entry of this key, made where it is not there, in place of the oldest where there are many.
template <typename Recent, typename Key, typename Make>
auto find_or_make(Recent& recent, const Key& key, Make make) {
  const auto found = std::find_if(recent.begin(), recent.end(), [&](const auto& entry) { return entry.first == key; });
  if (found != recent.end()) {
    return found->second;
  }
  if (recent.size() == most_kept) {
    recent.pop_front();
  }
  recent.emplace_back(key, make());
  return recent.back().second;
}

// The words of a list that the vocabulary can spell. Throws Error(bad_input) as read_word_list, and where it cannot
// spell one, or none where such are skipped.
std::vector<std::string> spellable_words(const std::string& path, const Vocabulary& vocabulary, bool skip_unknown) {
  std::vector<std::string> words = read_word_list(path), spellable;
  std::map<std::string, int64_t> words_with;  // by unknown character
  for (std::string& word : words) {
    const std::vector<std::string> unknown = vocabulary.encode(word).unknown;
    for (const std::string& character : unknown) {
      ++words_with[character];
    }
    if (unknown.empty()) {
      spellable.push_back(std::move(word));
    }
  }
  if (words_with.empty()) {
    return spellable;
  }
  std::string counts;
  for (const auto& [character, count] : words_with) {
    counts += fmt::format("{}{} ({})", counts.empty() ? "" : ", ", quote(character), count);
  }
  const std::string what = fmt::format("{} of the {} words of '{}' have characters that are not in the vocabulary: {}",
                                       words.size() - spellable.size(), words.size(), path, counts);
  if (!skip_unknown || spellable.empty()) {
    fail(ExitCode::bad_input, "{}. Take them out{}.", what,
         skip_unknown ? ", and leave some" : ", or leave them out with --unknown_chars=skip");
  }
  notice("{}. They are left out.", what);
  return spellable;
}

std::string tokens_in_words(int64_t count) {
  return fmt::format("{} token{}", count, count == 1 ? "" : "s");
}

// "Texts that match have from 3 to 8 tokens."
std::string lengths_in_words(const MatchLengths& lengths) {
  if (!lengths.longest) {
    return fmt::format("Texts that match have {} or more", tokens_in_words(*lengths.shortest));
  }
  return *lengths.shortest == *lengths.longest
             ? fmt::format("Texts that match have {}", tokens_in_words(*lengths.shortest))
             : fmt::format("Texts that match have from {} to {} tokens", *lengths.shortest, *lengths.longest);
}

}  // namespace

Patterns::Patterns(const Context& context) : context_(context), own_(own_pattern(context.config)) {
  if (context.config.words) {
    const bool skips = context.config.unknown_chars == UnknownChars::skip;
    words_ = word_automaton(spellable_words(*context.config.words, *context.vocabulary, skips),
                            spelling_bytes(*context.vocabulary));
  }
}

std::shared_ptr<const TokenAutomaton> Patterns::of(const Prompt& prompt) {
  const std::optional<std::string>& pattern = prompt.pattern ? prompt.pattern : own_;
  if (!pattern && !words_) {
    return nullptr;
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  return find_or_make(automata_, pattern, [&] {
    return compile_rule({pattern, words_ ? &*words_ : nullptr}, *context_.vocabulary, context_.allowed,
                        context_.stops_at_end() ? context_.vocabulary->end_of_text() : std::nullopt);
  });
}

std::shared_ptr<const Reachable> Patterns::reachable(const std::shared_ptr<const TokenAutomaton>& automaton,
                                                     int64_t tokens) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return find_or_make(reachable_, ReachableKey(automaton, tokens),
                      [&] { return std::make_shared<const Reachable>(*automaton, tokens); });
}

void Patterns::check_has_completion(const std::shared_ptr<const TokenAutomaton>& automaton, const PartialText& text) {
  if (has_completion(*automaton, text)) {
    return;
  }
  const std::string rule = name_of(automaton);
  const auto length = static_cast<int64_t>(text.slots.size());
  const MatchLengths lengths = match_lengths(*automaton);
  if (!lengths.shortest) {
    fail(ExitCode::bad_usage,
         "{}: no text that the tokens of the vocabulary '{}' spell matches it. Write what they can spell.", rule,
         context_.vocabulary_path);
  }
  const int64_t unshown = std::count(text.slots.begin(), text.slots.end(), PatternSlot::unshown);
  const std::optional<int64_t> position = first_contradiction(*automaton, *reachable(automaton, length), text);
  if (!position) {
    const int64_t shown = length - unshown;
    const bool between = shown > *lengths.shortest && (!lengths.longest || shown < *lengths.longest);
    fail(ExitCode::bad_usage, "{}: no text of {} matches it. {}{}. Change the length or the {}.", rule,
         tokens_in_words(shown), lengths_in_words(lengths), between ? ", not of every number between" : "", rule);
  }
  if (*position == length) {
    fail(ExitCode::bad_usage, "{}: the text may not end after what is given. {}.", rule, lengths_in_words(lengths));
  }
  fail(ExitCode::bad_usage,
       "{}: no text of {} that matches it has {} at position {}, counted from 0, after what is given before "
       "it. {}. Change what is given or the {}.",
       rule, tokens_in_words(length - unshown),
       quote(context_.vocabulary->token(text.tokens[static_cast<size_t>(*position)])), *position - unshown,
       lengths_in_words(lengths), rule);
}

void Patterns::refuse_gaps(const std::shared_ptr<const TokenAutomaton>& automaton, const std::string& key) {
  const std::string rule = name_of(automaton);
  const MatchLengths lengths = match_lengths(*automaton);
  fail(ExitCode::bad_usage,
       "{}: with no lengths of its gaps can {} match it.{} Change the gaps, what is given or the {}.", rule, key,
       lengths.shortest ? fmt::format(" {}.", lengths_in_words(lengths)) : std::string(), rule);
}

std::string Patterns::name_of(const std::shared_ptr<const TokenAutomaton>& automaton) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found =
      std::find_if(automata_.begin(), automata_.end(), [&](const auto& one) { return one.second == automaton; });
  const bool has_pattern = found == automata_.end() || found->first;
  return !words_ ? "pattern" : has_pattern ? "pattern with words" : "words";
}

std::string describe_pattern(const TokenAutomaton& automaton) {
  return fmt::format("the text matches it: {} states, {} classes of tokens, {} transitions", automaton.states(),
                     automaton.classes(), automaton.edge_count());
}

}  // namespace demask

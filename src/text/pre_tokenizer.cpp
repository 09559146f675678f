#include "text/pre_tokenizer.h"

#include <algorithm>
#include <optional>

#include "core/utf8.h"
#include "text/gpt2_words.h"

namespace demask {
namespace {

// Puts parts of a text, which come in order as matched or not, together as a behaviour says.
template <typename Emit>
class Joiner {
 public:
  Joiner(SplitBehavior behavior, Emit emit) : behavior_(behavior), emit_(emit) {}

  void take(Span part, bool matched) {
    if (joins(matched)) {
      held_.end = part.end;
    } else {
      flush();
      held_ = part;
      holds_ = true;
      removed_ = behavior_ == SplitBehavior::removed && matched;
    }
    matched_ = matched;
  }

  void flush() {
    if (holds_ && !removed_ && held_.end > held_.start) {
      emit_(held_);
    }
    holds_ = false;
  }

 private:
  // Whether a part goes with the one before it.
  bool joins(bool matched) const {
    if (!holds_) {
      return false;
    }
    switch (behavior_) {
      case SplitBehavior::contiguous:
        return matched == matched_;
      case SplitBehavior::merged_with_previous:
        return matched && !matched_;
      case SplitBehavior::merged_with_next:
        return !matched && matched_;
      default:
        return false;
    }
  }

  SplitBehavior behavior_;
  Emit emit_;
  Span held_;
  bool holds_ = false;
  bool matched_ = false;
  bool removed_ = false;
};

// The matches of a pattern one after another. An empty one right after another match does not count, as in the
// library's iterator.
class Matches {
 public:
  Matches(Matcher& matcher, std::string_view text) : matcher_(matcher), text_(text) {}

  std::optional<Span> next() {
    while (from_ <= text_.size()) {
      const std::optional<Span> match = matcher_.find(text_, from_);
      if (!match) {
        return std::nullopt;
      }
      if (match->start == match->end && match->end == last_end_) {
        from_ += from_ == text_.size() ? 1 : std::max(utf8_length(text_.substr(from_, 4)), size_t{1});
        continue;
      }
      from_ = match->end;
      last_end_ = match->end;
      return match;
    }
    return std::nullopt;
  }

 private:
  Matcher& matcher_;
  std::string_view text_;
  size_t from_ = 0;
  std::optional<size_t> last_end_;
};

}  // namespace

PreTokenizer::PreTokenizer(const std::vector<PreTokenizerStep>& steps) : steps_(steps), matchers_(steps.size()) {
  for (size_t step = 0; step < steps.size(); ++step) {
    for (const TokenizerRegex& pattern : steps[step].pattern) {
      matchers_[step].emplace_back(pattern);
    }
  }
}

void PreTokenizer::cut(std::string_view text, WordSink& sink) {
  if (!text.empty()) {
    run(0, text, sink);
  }
}

void PreTokenizer::run(size_t step, std::string_view text, WordSink& sink) {
  if (step == steps_.size()) {
    sink.take(text);
  } else if (steps_[step].kind == PreTokenizerStep::Kind::split) {
    split(step, text, sink);
  } else if (text.front() == ' ') {
    run(step + 1, text, sink);
  } else {
    changed_.push_back(' ' + std::string(text));
    run(step + 1, changed_.back(), sink);
  }
}

void PreTokenizer::split(size_t step, std::string_view text, WordSink& sink) {
  const PreTokenizerStep& settings = steps_[step];
  Matcher& matcher = matchers_[step].front();
  const auto part = [&](Span span) { run(step + 1, text.substr(span.start, span.end - span.start), sink); };
  if (settings.is_gpt2_words) {  // it has a match at every character
    for (size_t start = 0; start < text.size();) {
      const size_t ascii_end = gpt2_word_end(text, start);
      const size_t end = ascii_end > 0 ? ascii_end : matcher.find(text, start).value_or(Span{0, text.size()}).end;
      part({start, end});
      start = end;
    }
    return;
  }
  Joiner joiner(settings.behavior, part);
  size_t end = 0;
  Matches matches(matcher, text);
  while (const std::optional<Span> match = matches.next()) {
    if (match->start > end) {
      joiner.take({end, match->start}, settings.invert);
    }
    joiner.take(*match, !settings.invert);
    end = match->end;
  }
  if (end < text.size()) {
    joiner.take({end, text.size()}, settings.invert);
  }
  joiner.flush();
}

}  // namespace demask

#include "text/piece_vocabulary.h"

#include <algorithm>
#include <deque>
#include <unordered_set>
#include <utility>

#include "core/error.h"
#include "core/text.h"
#include "core/utf8.h"
#include "text/hashing.h"
#include "text/unicode.h"

namespace demask {
namespace {

constexpr size_t max_text_bytes = size_t{1} << 30;

// Where words that were split before have their ids.
class WordCache {
 public:
  static constexpr size_t longest_word = 48;

  struct Entry {
    const char* word = nullptr;
    uint32_t bytes = 0, count = 0;
    size_t first = 0;  // of its ids, among those of the encoding
  };

  // The entry of `word`, or an empty one (word == nullptr) to be filled before the next call.
  Entry& find(std::string_view word) {
    if (2 * used_ > entries_.size() && entries_.size() < max_entries) {
      grow();
    }
    return entries_[slot_of(word)];
  }

  bool is_full() const { return 2 * used_ > entries_.size(); }
  void count_one() { ++used_; }

 private:
  static constexpr size_t max_entries = size_t{1} << 20;

  size_t slot_of(std::string_view word) const {
    const size_t last = entries_.size() - 1;
    size_t slot = hash_of(word, seed_) & last;
    while (entries_[slot].word != nullptr && std::string_view(entries_[slot].word, entries_[slot].bytes) != word) {
      slot = (slot + 1) & last;
    }
    return slot;
  }

  void grow() {
    const std::vector<Entry> old = std::exchange(entries_, std::vector<Entry>(4 * entries_.size()));
    for (const Entry& entry : old) {
      if (entry.word != nullptr) {
        entries_[slot_of({entry.word, entry.bytes})] = entry;
      }
    }
  }

  std::vector<Entry> entries_ = std::vector<Entry>(256);
  size_t used_ = 0;
  uint64_t seed_ = hash_seed();
};

}  // namespace

// Appends the ids of word after word to an encoding.
class PieceVocabulary::WordEncoder : public WordSink {
 public:
  WordEncoder(const Tokenizer& tokenizer, Encoding& encoding) : tokenizer_(tokenizer), encoding_(encoding) {}

  void take(std::string_view word) override {
    std::vector<int64_t>& ids = encoding_.ids;
    if (word.size() > WordCache::longest_word) {
      split(word);
      return;
    }
    WordCache::Entry& entry = cache_.find(word);
    if (entry.word != nullptr) {
      for (size_t i = 0; i < entry.count; ++i) {
        ids.push_back(ids[entry.first + i]);
      }
      return;
    }
    const size_t first = ids.size();
    split(word);
    if (!cache_.is_full()) {
      entry = {word.data(), static_cast<uint32_t>(word.size()), static_cast<uint32_t>(ids.size() - first), first};
      cache_.count_one();
    }
  }

 private:
  void split(std::string_view word) {
    if (tokenizer_.ignore_merges) {
      if (const auto id = tokenizer_.pieces.find(word)) {
        encoding_.ids.push_back(*id);
        return;
      }
    }
    lacking_.clear();
    tokenizer_.merges.split(word, scratch_, encoding_.ids, lacking_);
    for (const size_t at : lacking_) {
      add_unknown(word, at);
    }
  }

  // The character that the byte at `at` belongs to.
  void add_unknown(std::string_view word, size_t at) {
    while (at > 0 && (static_cast<unsigned char>(word[at]) & 0xC0U) == 0x80) {
      --at;
    }
    std::string character(word.substr(at, std::max(utf8_length(word.substr(at)), size_t{1})));
    if (unknown_.insert(character).second) {
      encoding_.unknown.push_back(std::move(character));
    }
  }

  const Tokenizer& tokenizer_;
  Encoding& encoding_;
  WordCache cache_;
  BytePairs::Scratch scratch_;
  std::vector<size_t> lacking_;
  std::unordered_set<std::string> unknown_;
};

PieceVocabulary::PieceVocabulary(Tokenizer tokenizer) : tokenizer_(std::move(tokenizer)) {
  is_special_.resize(static_cast<size_t>(size()));
  for (AddedToken& token : tokenizer_.added) {
    if (token.special && has_text(token.id)) {
      is_special_[static_cast<size_t>(token.id)] = true;
    }
    if (token.normalized && tokenizer_.nfc) {
      token.content = to_nfc(token.content);
    }
    (token.normalized ? in_normalized_ : in_text_).push_back(std::move(token));
  }
  tokenizer_.added.clear();
  find_in_text_ = std::make_unique<AddedTokenFinder>(in_text_);
  find_in_normalized_ = std::make_unique<AddedTokenFinder>(in_normalized_);
}

bool PieceVocabulary::is_special(int64_t id) const {
  return has_text(id) && is_special_[static_cast<size_t>(id)];
}

Vocabulary::Encoding PieceVocabulary::encode(std::string_view text, bool parse_special) const {
  if (!is_utf8(text)) {
    fail(ExitCode::bad_input, "the text {} is not UTF-8.", quote(text));
  }
  if (text.size() > max_text_bytes) {
    fail(ExitCode::bad_input, "the text has {} bytes, more than the {} that can be encoded at once.", text.size(),
         max_text_bytes);
  }
  Encoding encoding;
  encoding.ids.reserve(text.size() / 4 + 8);
  WordEncoder words(tokenizer_, encoding);
  PreTokenizer pre_tokenizer(tokenizer_.steps);
  std::deque<std::string> normalized;  // words of the cache lie in them
  for (const AddedTokenFinder::Part& part : find_in_text_->split(text, parse_special)) {
    if (part.token != nullptr) {
      encoding.ids.push_back(part.token->id);
      continue;
    }
    std::string_view rest = part.text;
    if (tokenizer_.nfc && !is_surely_nfc(rest)) {
      rest = normalized.emplace_back(to_nfc(rest));
    }
    for (const AddedTokenFinder::Part& inner : find_in_normalized_->split(rest, parse_special)) {
      if (inner.token != nullptr) {
        encoding.ids.push_back(inner.token->id);
      } else {
        pre_tokenizer.cut(inner.text, words);
      }
    }
  }
  return encoding;
}

}  // namespace demask

#include "text/byte_pairs.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "text/hashing.h"

namespace demask {
namespace {

// Up to here looking at every pair for each merge costs less than a queue.
constexpr size_t short_word = 64;
constexpr uint32_t none = UINT32_MAX;

}  // namespace

BytePairs::BytePairs() : pairs_(1024), seed_(hash_seed()) {
  bytes_.fill(no_id);
}

void BytePairs::reserve(size_t merges) {
  size_t slots = pairs_.size();
  while (slots < 2 * merges) {
    slots *= 2;
  }
  resize_slots(slots);
}

void BytePairs::add(int64_t left, int64_t right, uint32_t rank, int64_t merged) {
  const uint64_t key = static_cast<uint64_t>(left) << 32 | static_cast<uint64_t>(right);
  Pair& pair = pairs_[slot_of(key)];
  used_ += pair.key == no_key ? 1 : 0;
  pair = {key, rank, static_cast<uint32_t>(merged)};
  if (2 * used_ > pairs_.size()) {
    resize_slots(2 * pairs_.size());
  }
}

void BytePairs::take_bytes(const PieceTable& pieces) {
  for (size_t byte = 0; byte < bytes_.size(); ++byte) {
    const char letter = static_cast<char>(byte);
    const auto id = pieces.find(std::string_view(&letter, 1));
    bytes_[byte] = id ? static_cast<uint32_t>(*id) : no_id;
  }
}

bool BytePairs::has_every_byte() const {
  return std::find(bytes_.begin(), bytes_.end(), no_id) == bytes_.end();
}

size_t BytePairs::slot_of(uint64_t key) const {
  const size_t last = pairs_.size() - 1;
  size_t slot = hash_of(key, seed_) & last;
  while (pairs_[slot].key != no_key && pairs_[slot].key != key) {
    slot = (slot + 1) & last;
  }
  return slot;
}

void BytePairs::resize_slots(size_t slots) {
  if (slots == pairs_.size()) {
    return;
  }
  const std::vector<Pair> old = std::exchange(pairs_, std::vector<Pair>(slots));
  for (const Pair& pair : old) {
    if (pair.key != no_key) {
      pairs_[slot_of(pair.key)] = pair;
    }
  }
}

const BytePairs::Pair* BytePairs::find(uint32_t left, uint32_t right) const {
  const Pair& pair = pairs_[slot_of(uint64_t{left} << 32 | right)];
  return pair.key == no_key ? nullptr : &pair;
}

uint32_t BytePairs::rank(uint32_t left, uint32_t right) const {
  const Pair* pair = find(left, right);
  return pair == nullptr ? no_rank : pair->rank;
}

void BytePairs::split(std::string_view word, Scratch& scratch, std::vector<int64_t>& ids,
                      std::vector<size_t>& lacking) const {
  scratch.ids.clear();
  for (size_t i = 0; i < word.size(); ++i) {
    const uint32_t id = bytes_[static_cast<unsigned char>(word[i])];
    if (id == no_id) {
      lacking.push_back(i);
    } else {
      scratch.ids.push_back(id);
    }
  }
  if (scratch.ids.size() <= short_word) {
    merge_short(scratch);
  } else {
    merge_long(scratch);
  }
  ids.insert(ids.end(), scratch.ids.begin(), scratch.ids.end());
}

// ranks[i] is that of the pair that begins at i.
void BytePairs::merge_short(Scratch& scratch) const {
  std::vector<uint32_t>& ids = scratch.ids;
  size_t count = ids.size();
  if (count < 2) {
    return;
  }
  std::array<uint32_t, short_word> ranks;
  for (size_t i = 0; i + 1 < count; ++i) {
    ranks[i] = rank(ids[i], ids[i + 1]);
  }
  while (count > 1) {
    const auto end = ranks.begin() + static_cast<std::ptrdiff_t>(count) - 1;
    const auto lowest = std::min_element(ranks.begin(), end);
    if (*lowest == no_rank) {
      break;
    }
    const auto at = static_cast<size_t>(lowest - ranks.begin());
    ids[at] = find(ids[at], ids[at + 1])->merged;
    std::copy(ids.begin() + static_cast<std::ptrdiff_t>(at) + 2, ids.begin() + static_cast<std::ptrdiff_t>(count),
              ids.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    std::copy(lowest + 1, end, lowest);
    --count;
    if (at + 1 < count) {
      ranks[at] = rank(ids[at], ids[at + 1]);
    }
    if (at > 0) {
      ranks[at - 1] = rank(ids[at - 1], ids[at]);
    }
  }
  ids.resize(count);
}

// The symbols are a linked list; the queue holds rank and place of pairs, some of which are gone when their turn comes.
void BytePairs::merge_long(Scratch& scratch) const {
  std::vector<uint32_t>&ids = scratch.ids, &ranks = scratch.ranks, &previous = scratch.previous, &next = scratch.next;
  std::vector<uint64_t>& queue = scratch.queue;
  const auto count = static_cast<uint32_t>(ids.size());
  ranks.assign(count, no_rank);
  previous.resize(count);
  next.resize(count);
  queue.clear();
  for (uint32_t i = 0; i < count; ++i) {
    previous[i] = i == 0 ? none : i - 1;
    next[i] = i + 1 == count ? none : i + 1;
    ranks[i] = i + 1 == count ? no_rank : rank(ids[i], ids[i + 1]);
    if (ranks[i] != no_rank) {
      queue.push_back(uint64_t{ranks[i]} << 32 | i);
    }
  }
  std::make_heap(queue.begin(), queue.end(), std::greater<>());
  const auto judge = [&](uint32_t at) {
    ranks[at] = next[at] == none ? no_rank : rank(ids[at], ids[next[at]]);
    if (ranks[at] != no_rank) {
      queue.push_back(uint64_t{ranks[at]} << 32 | at);
      std::push_heap(queue.begin(), queue.end(), std::greater<>());
    }
  };
  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end(), std::greater<>());
    const uint64_t first = queue.back();
    queue.pop_back();
    const auto at = static_cast<uint32_t>(first);
    if (ranks[at] != first >> 32) {
      continue;
    }
    const uint32_t gone = next[at];
    ids[at] = find(ids[at], ids[gone])->merged;
    ranks[gone] = no_rank;
    next[at] = next[gone];
    if (next[at] != none) {
      previous[next[at]] = at;
    }
    judge(at);
    if (previous[at] != none) {
      judge(previous[at]);
    }
  }
  uint32_t kept = 0;
  for (uint32_t at = 0; at != none; at = next[at]) {
    ids[kept++] = ids[at];
  }
  ids.resize(kept);
}

}  // namespace demask

// The merges of byte-pair encoding, and a word split by them: Sennrich, Haddow and Birch 2016 on bytes, as GPT-2 has
// it. At each turn the pair of lowest rank is merged, of equal ones the leftmost.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/piece_table.h"

namespace demask {

class BytePairs {
 public:
  BytePairs();
  void reserve(size_t merges);

  // `left` and `right` side by side become `merged`; the lower rank goes first. A pair that is added twice has the rank
  // of the later call.
  void add(int64_t left, int64_t right, uint32_t rank, int64_t merged);
  // Takes the ids of the 256 bytes from the pieces of one byte.
  void take_bytes(const PieceTable& pieces);

  // What splitting needs while it runs, kept from word to word.
  struct Scratch {
    std::vector<uint32_t> ids, ranks, previous, next;
    std::vector<uint64_t> queue;
  };
  // Appends the ids of a word's pieces, in at most n log n for n bytes. Appends to `lacking` the position of each byte
  // that no piece has; it is left out. A word has less than 2^32 - 1 bytes.
  void split(std::string_view word, Scratch& scratch, std::vector<int64_t>& ids, std::vector<size_t>& lacking) const;
  // Whether each byte has a piece.
  bool has_every_byte() const;

 private:
  struct Pair {
    uint64_t key = no_key;
    uint32_t rank = 0;
    uint32_t merged = 0;
  };
  static constexpr uint64_t no_key = UINT64_MAX;
  static constexpr uint32_t no_rank = UINT32_MAX;
  static constexpr uint32_t no_id = UINT32_MAX;

  const Pair* find(uint32_t left, uint32_t right) const;
  uint32_t rank(uint32_t left, uint32_t right) const;
  size_t slot_of(uint64_t key) const;
  void merge_short(Scratch& scratch) const;
  void merge_long(Scratch& scratch) const;
  void resize_slots(size_t slots);

  std::array<uint32_t, 256> bytes_;
  std::vector<Pair> pairs_;  // by hash; a power of two, at most half of them used
  size_t used_ = 0;
  uint64_t seed_;
};

}  // namespace demask

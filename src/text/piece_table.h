// The pieces of a vocabulary by id, and their ids by bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace demask {

class PieceTable {
 public:
  static constexpr int64_t max_id = (int64_t{1} << 20) - 1;
  static constexpr size_t max_piece_bytes = 512;

  PieceTable();
  // Takes memory for so many pieces of so many bytes together.
  void reserve(size_t pieces, size_t bytes);

  // One more than the largest id that has a piece.
  int64_t size() const { return static_cast<int64_t>(entries_.size()); }
  bool has(int64_t id) const;
  // Empty for an id without a piece.
  std::string_view piece(int64_t id) const;
  // The id that `add` was given for these bytes.
  std::optional<int64_t> find(std::string_view bytes) const;

  // Adds a piece, unless something is wrong with it or its id: then says what, else gives an empty text. The bytes of a
  // piece that is not `findable` lead to no id.
  std::string add(int64_t id, std::string_view bytes, bool findable = true);

 private:
  struct Entry {
    uint32_t offset = 0;
    uint32_t length = 0;
    bool used = false;
  };
  static constexpr uint32_t no_id = UINT32_MAX;

  // The slot that holds the id of `bytes`, or the empty one where it belongs.
  size_t slot_of(std::string_view bytes) const;
  void resize_slots(size_t slots);

  std::string bytes_;
  std::vector<Entry> entries_;   // by id
  std::vector<uint32_t> slots_;  // ids by hash; a power of two, at most half of them used
  size_t found_ = 0;             // pieces in slots_
  uint64_t seed_;
};

}  // namespace demask

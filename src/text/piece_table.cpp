#include "text/piece_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/text.h"
#include "text/hashing.h"

namespace demask {

PieceTable::PieceTable() : slots_(1024, no_id), seed_(hash_seed()) {}

void PieceTable::reserve(size_t pieces, size_t bytes) {
  bytes_.reserve(bytes);
  entries_.reserve(std::min(pieces, static_cast<size_t>(max_id) + 1));
  size_t slots = slots_.size();
  while (slots < 2 * std::min(pieces, static_cast<size_t>(max_id) + 1)) {
    slots *= 2;
  }
  resize_slots(slots);
}

bool PieceTable::has(int64_t id) const {
  return id >= 0 && id < size() && entries_[static_cast<size_t>(id)].used;
}

std::string_view PieceTable::piece(int64_t id) const {
  if (!has(id)) {
    return {};
  }
  const Entry& entry = entries_[static_cast<size_t>(id)];
  return std::string_view(bytes_).substr(entry.offset, entry.length);
}

std::optional<int64_t> PieceTable::find(std::string_view bytes) const {
  const uint32_t id = slots_[slot_of(bytes)];
  return id == no_id ? std::nullopt : std::optional<int64_t>(id);
}

std::string PieceTable::add(int64_t id, std::string_view bytes, bool findable) {
  if (id < 0 || id > max_id) {
    return fmt::format("the piece {} has the id {}; ids are 0 to {}", quote(bytes), id, max_id);
  }
  if (bytes.size() > max_piece_bytes) {
    return fmt::format("the piece of id {} has {} bytes, more than the {} allowed", id, bytes.size(), max_piece_bytes);
  }
  if (has(id)) {
    return fmt::format("two pieces have the id {}: {} and {}", id, quote(piece(id)), quote(bytes));
  }
  if (findable) {
    const size_t slot = slot_of(bytes);
    if (slots_[slot] != no_id) {
      return fmt::format("the piece {} has two ids: {} and {}", quote(bytes), slots_[slot], id);
    }
    slots_[slot] = static_cast<uint32_t>(id);
    ++found_;
  }
  if (id >= size()) {
    entries_.resize(static_cast<size_t>(id) + 1);
  }
  entries_[static_cast<size_t>(id)] = {static_cast<uint32_t>(bytes_.size()), static_cast<uint32_t>(bytes.size()), true};
  bytes_ += bytes;
  if (2 * found_ > slots_.size()) {
    resize_slots(2 * slots_.size());
  }
  return {};
}

size_t PieceTable::slot_of(std::string_view bytes) const {
  const size_t last = slots_.size() - 1;
  size_t slot = hash_of(bytes, seed_) & last;
  while (slots_[slot] != no_id && piece(slots_[slot]) != bytes) {
    slot = (slot + 1) & last;
  }
  return slot;
}

void PieceTable::resize_slots(size_t slots) {
  if (slots == slots_.size()) {
    return;
  }
  const std::vector<uint32_t> old = std::exchange(slots_, std::vector<uint32_t>(slots, no_id));
  for (const uint32_t id : old) {
    if (id != no_id) {
      slots_[slot_of(piece(id))] = id;
    }
  }
}

}  // namespace demask

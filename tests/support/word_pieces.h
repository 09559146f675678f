// A vocabulary of pieces that a test lists, for what shows them.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/vocabulary.h"

namespace demask::testing {

class WordPieces : public Vocabulary {
 public:
  // `pieces[id]` are the bytes of an id.
  explicit WordPieces(std::vector<std::string> pieces, std::set<int64_t> special = {})
      : pieces_(std::move(pieces)), special_(std::move(special)) {}

  int64_t size() const override { return static_cast<int64_t>(pieces_.size()); }
  bool has_text(int64_t id) const override { return id >= 0 && id < size(); }
  bool characters() const override { return false; }
  bool is_special(int64_t id) const override { return special_.count(id) > 0; }
  std::optional<int64_t> mask_token_id() const override { return std::nullopt; }
  std::optional<int64_t> end_of_text() const override { return std::nullopt; }
  std::vector<int64_t> template_prefix() const override { return {}; }
  Encoding encode(std::string_view /*text*/, bool /*parse_special*/) const override { return {}; }
  std::string_view piece(int64_t id) const override {
    return has_text(id) ? std::string_view(pieces_[static_cast<size_t>(id)]) : std::string_view();
  }

 private:
  std::vector<std::string> pieces_;
  std::set<int64_t> special_;
};

}  // namespace demask::testing

// The parts of a template as JSON: ["ROMEO: ", {"gap": [4, 12]}, ", my lord, ", {"masks": 8}, "."]
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "demask/sample.h"

namespace demask {

// Is told what a parser finds, from the list's bracket to its end. Each function is false where that has no place.
class InfillReader {
 public:
  static constexpr std::string_view allowed =
      R"(a list of texts, {"gap": [least, most]} and {"masks": count}, of 1 to 1000000 tokens)";

  bool start_array();
  bool end_array();
  bool start_object();
  bool key(const std::string& name);
  bool end_object();
  bool text(const std::string& text);
  // Empty: beyond int64.
  bool number(std::optional<int64_t> value);

  // The list is read to its end.
  bool finished() const { return next_ == Next::nothing; }
  // Of the part that is being read, counted from 0.
  size_t place() const { return parts_.size() - (next_ == Next::part || parts_.empty() ? 0 : 1); }
  const std::vector<InfillPart>& parts() const { return parts_; }

 private:
  enum class Next { list, part, name, pair, least, most, end_of_pair, count, end_of_part, nothing };
  bool step(Next from, Next to);

  Next next_ = Next::list;
  std::vector<InfillPart> parts_;
};

}  // namespace demask

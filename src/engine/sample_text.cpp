#include "engine/sample_text.h"

#include <algorithm>
#include <cstddef>
#include <optional>

namespace demask {

std::string sample_text(const Context& context, const PreparedPrompt& prompt, const std::vector<int64_t>& tokens) {
  size_t end = tokens.size();
  if (context.stops_at_end()) {
    const std::optional<int64_t> end_of_text = context.vocabulary->end_of_text();
    const std::vector<bool> given = prompt.given();
    for (size_t position = 0; position < end; ++position) {
      if (tokens[position] == end_of_text && !given[position]) {
        end = position;
      }
    }
  }
  const auto begin = tokens.begin();
  return context.vocabulary->decode(
      {begin + static_cast<std::ptrdiff_t>(std::min(prompt.unshown, end)), begin + static_cast<std::ptrdiff_t>(end)},
      context.shown_mask());
}

}  // namespace demask

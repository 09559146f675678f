#include "engine/sample_text.h"

#include <algorithm>
#include <cstddef>
#include <optional>

namespace demask {

size_t text_length(const Context& context, const PreparedPrompt& prompt, const std::vector<int64_t>& tokens) {
  if (context.stops_at_end()) {
    const std::optional<int64_t> end_of_text = context.vocabulary->end_of_text();
    const std::vector<bool> given = prompt.given();
    for (size_t position = 0; position < tokens.size(); ++position) {
      if (tokens[position] == end_of_text && !given[position]) {
        return position;
      }
    }
  }
  return tokens.size();
}

std::string sample_text(const Context& context, const PreparedPrompt& prompt, const std::vector<int64_t>& tokens) {
  const size_t end = text_length(context, prompt, tokens);
  const auto begin = tokens.begin();
  return context.vocabulary->decode(
      {begin + static_cast<std::ptrdiff_t>(std::min(prompt.unshown, end)), begin + static_cast<std::ptrdiff_t>(end)},
      context.shown_mask());
}

}  // namespace demask

#include "pattern/span_ways.h"

#include <map>

namespace demask {
namespace {

// The ways through twice as many positions; nothing where there are too many.
SpanWays doubled(const SpanWays& ways, const SpanLimits& limits) {
  SpanWays joined;
  joined.of_state.resize(ways.of_state.size());
  std::map<std::pair<int32_t, int32_t>, int32_t> known;
  for (size_t state = 0; state < ways.of_state.size(); ++state) {
    for (const SpanWays::Way& first : ways.of_state[state]) {
      for (const SpanWays::Way& second : ways.of_state[static_cast<size_t>(first.next)]) {
        const auto [found, is_new] =
            known.try_emplace({first.product, second.product}, static_cast<int32_t>(joined.products.size()));
        if (is_new) {
          std::vector<int32_t> classes = ways.products[static_cast<size_t>(first.product)];
          const std::vector<int32_t>& more = ways.products[static_cast<size_t>(second.product)];
          classes.insert(classes.end(), more.begin(), more.end());
          joined.products.push_back(std::move(classes));
        }
        joined.of_state[state].push_back({found->second, second.next});
        if (joined.of_state[state].size() > limits.ways) {
          return {};
        }
      }
    }
  }
  joined.span = 2 * ways.span;
  return joined.products.size() > limits.products * static_cast<size_t>(joined.span) ? SpanWays{} : joined;
}

}  // namespace

SpanWays ways_through_spans(const std::vector<std::vector<std::pair<int32_t, int32_t>>>& edges,
                            const SpanLimits& limits) {
  SpanWays ways;
  ways.span = 1;
  ways.of_state.resize(edges.size());
  for (size_t state = 0; state < edges.size(); ++state) {
    for (const auto& [token_class, next] : edges[state]) {
      ways.of_state[state].push_back({token_class, next});
      while (ways.products.size() <= static_cast<size_t>(token_class)) {
        ways.products.push_back({static_cast<int32_t>(ways.products.size())});
      }
    }
  }
  while (static_cast<size_t>(ways.span) < limits.longest) {
    SpanWays longer = doubled(ways, limits);
    if (longer.span == 0) {
      break;
    }
    ways = std::move(longer);
  }
  return static_cast<size_t>(ways.span) < SpanLimits::shortest ? SpanWays{} : ways;
}

}  // namespace demask

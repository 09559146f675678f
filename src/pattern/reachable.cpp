#include "pattern/reachable.h"

#include <algorithm>
#include <unordered_map>

namespace demask {
namespace {

// Calls visit(next) for every state that a drawn token leads to and that is not the end of texts.
template <typename Visit>
void for_each_next(const TokenAutomaton& automaton, int32_t state, Visit visit) {
  automaton.for_each_edge(state, [&](const TokenAutomaton::Edge& edge) {
    if (automaton.is_drawable(edge.token_class) && edge.next != automaton.ended()) {
      visit(edge.next);
    }
  });
}

// Fewest tokens from the start to each state; -1: none lead there.
std::vector<int64_t> distances(const TokenAutomaton& automaton, std::vector<int32_t>& in_order) {
  std::vector<int64_t> distance(static_cast<size_t>(automaton.states()), -1);
  distance[static_cast<size_t>(TokenAutomaton::start())] = 0;
  in_order = {TokenAutomaton::start()};
  for (size_t i = 0; i < in_order.size(); ++i) {
    for_each_next(automaton, in_order[i], [&](int32_t next) {
      if (distance[static_cast<size_t>(next)] < 0) {
        distance[static_cast<size_t>(next)] = distance[static_cast<size_t>(in_order[i])] + 1;
        in_order.push_back(next);
      }
    });
  }
  return distance;
}

// Of these states, those from which a match can be reached.
std::vector<bool> that_match(const TokenAutomaton& automaton, const std::vector<int32_t>& states) {
  std::vector<std::vector<int32_t>> before(static_cast<size_t>(automaton.states()));
  std::vector<bool> matches(before.size(), false);
  std::vector<int32_t> waiting;
  for (const int32_t state : states) {
    for_each_next(automaton, state, [&](int32_t next) { before[static_cast<size_t>(next)].push_back(state); });
    if (automaton.accepts(state)) {
      matches[static_cast<size_t>(state)] = true;
      waiting.push_back(state);
    }
  }
  while (!waiting.empty()) {
    const int32_t state = waiting.back();
    waiting.pop_back();
    for (const int32_t from : before[static_cast<size_t>(state)]) {
      if (!matches[static_cast<size_t>(from)]) {
        matches[static_cast<size_t>(from)] = true;
        waiting.push_back(from);
      }
    }
  }
  return matches;
}

// The longest way from the start through these states to an accepting one; none where they have a circle.
std::optional<int64_t> longest_way(const TokenAutomaton& automaton, const std::vector<int32_t>& states,
                                   const std::vector<bool>& useful) {
  std::vector<int64_t> before(useful.size(), 0), length(useful.size(), 0);
  const auto for_each_useful = [&](int32_t state, auto visit) {
    for_each_next(automaton, state, [&](int32_t next) {
      if (useful[static_cast<size_t>(next)]) {
        visit(static_cast<size_t>(next));
      }
    });
  };
  size_t count = 0;
  for (const int32_t state : states) {
    if (useful[static_cast<size_t>(state)]) {
      ++count;
      for_each_useful(state, [&](size_t next) { ++before[next]; });
    }
  }
  std::vector<int32_t> ready;
  if (before[static_cast<size_t>(TokenAutomaton::start())] == 0) {
    ready.push_back(TokenAutomaton::start());
  }
  int64_t longest = 0;
  size_t done = 0;
  for (; !ready.empty(); ++done) {
    const auto state = static_cast<size_t>(ready.back());
    ready.pop_back();
    longest = automaton.accepts(static_cast<int32_t>(state)) ? std::max(longest, length[state]) : longest;
    for_each_useful(static_cast<int32_t>(state), [&](size_t next) {
      length[next] = std::max(length[next], length[state] + 1);
      if (--before[next] == 0) {
        ready.push_back(static_cast<int32_t>(next));
      }
    });
  }
  return done == count ? std::optional(longest) : std::nullopt;
}

}  // namespace

Reachable::Reachable(const TokenAutomaton& automaton, int64_t most) {
  std::unordered_map<std::vector<bool>, size_t> known;
  std::vector<bool> row;
  for (int32_t state = 0; state < automaton.states(); ++state) {
    row.push_back(automaton.accepts(state));
  }
  for (int64_t tokens = 0; tokens <= most; ++tokens) {
    const auto [found, added] = known.emplace(row, rows_.size());
    if (!added) {
      repeats_from_ = found->second;
      return;
    }
    rows_.push_back(row);
    const auto any_leads_on = [&](TokenAutomaton::Edges edges) {
      return std::any_of(edges.begin(), edges.end(), [&](const TokenAutomaton::Edge& edge) {
        return automaton.is_drawable(edge.token_class) && rows_.back()[static_cast<size_t>(edge.next)];
      });
    };
    std::vector<bool> shared;
    for (int32_t group = 0; group < automaton.groups(); ++group) {
      shared.push_back(any_leads_on(automaton.shared_edges(group)));
    }
    for (int32_t state = 0; state < automaton.states(); ++state) {
      const int32_t group = automaton.group_of(state);
      row[static_cast<size_t>(state)] =
          (group != TokenAutomaton::none && shared[static_cast<size_t>(group)]) || any_leads_on(automaton.edges(state));
    }
  }
}

bool Reachable::from(int32_t state, int64_t tokens) const {
  auto row = static_cast<size_t>(tokens);
  if (row >= rows_.size()) {
    row = repeats_from_ + (row - repeats_from_) % (rows_.size() - repeats_from_);
  }
  return rows_[row][static_cast<size_t>(state)];
}

MatchLengths match_lengths(const TokenAutomaton& automaton) {
  std::vector<int32_t> states;
  const std::vector<int64_t> distance = distances(automaton, states);
  MatchLengths lengths;
  for (const int32_t state : states) {
    if (automaton.accepts(state) && !lengths.shortest) {
      lengths.shortest = distance[static_cast<size_t>(state)];  // they are in the order of their distances
    }
  }
  if (lengths.shortest) {
    lengths.longest = longest_way(automaton, states, that_match(automaton, states));
  }
  return lengths;
}

}  // namespace demask

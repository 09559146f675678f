#include "pattern/nfa.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace demask {

int32_t NfaBuilder::add(const Nfa::Node& node) {
  if (static_cast<int64_t>(nfa_.nodes.size()) >= most_nfa_nodes) {
    fail(
        ExitCode::bad_usage,
        "pattern is too large: its automaton has more than {} nodes before states are counted. Repeat less, or shorten "
        "it.",
        most_nfa_nodes);
  }
  nfa_.nodes.push_back(node);
  return static_cast<int32_t>(nfa_.nodes.size()) - 1;
}

int32_t NfaBuilder::add_set(const ByteSet& set) {
  const auto [found, added] = set_numbers_.emplace(set, static_cast<int32_t>(nfa_.sets.size()));
  if (added) {
    nfa_.sets.push_back(set);
  }
  return found->second;
}

NfaBuilder::Part NfaBuilder::empty() {
  const int32_t node = add({});
  return {node, node + 1, node, node};
}

NfaBuilder::Part NfaBuilder::points(const std::vector<PointRange>& normalized_ranges) {
  const int32_t begin = add({});
  const int32_t finish = begin;
  int32_t start = -1;
  for (const std::vector<ByteSet>& sequence : utf8_sequences(normalized_ranges)) {
    int32_t next = finish;
    for (auto set = sequence.rbegin(); set != sequence.rend(); ++set) {
      next = add({Nfa::Kind::bytes, add_set(*set), next, -1});
    }
    start = start < 0 ? next : add({Nfa::Kind::split, -1, next, start});
  }
  if (start < 0) {
    start = add({Nfa::Kind::bytes, add_set({}), finish, -1});
  }
  return {begin, static_cast<int32_t>(nfa_.nodes.size()), start, finish};
}

NfaBuilder::Part NfaBuilder::concatenated(const Part& first, const Part& second) {
  connect(first.finish, second.start);
  return {first.begin, second.end, first.start, second.finish};
}

NfaBuilder::Part NfaBuilder::either(const Part& first, const Part& second) {
  const int32_t split = add({Nfa::Kind::split, -1, first.start, second.start});
  const int32_t finish = add({});
  connect(first.finish, finish);
  connect(second.finish, finish);
  return {first.begin, finish + 1, split, finish};
}

NfaBuilder::Part NfaBuilder::copy(const Part& part) {
  const auto offset = static_cast<int32_t>(nfa_.nodes.size()) - part.begin;
  const auto moved = [&](int32_t node) { return node < 0 ? node : node + offset; };
  for (int32_t node = part.begin; node < part.end; ++node) {
    Nfa::Node same = nfa_.nodes[static_cast<size_t>(node)];
    same.out = moved(same.out);
    same.other = moved(same.other);
    add(same);
  }
  return {moved(part.begin), moved(part.end), moved(part.start), moved(part.finish)};
}

NfaBuilder::Part NfaBuilder::looped(const Part& part, bool skips) {
  const int32_t split = add({Nfa::Kind::split, -1, part.start, -1});
  const int32_t finish = add({});
  nfa_.nodes[static_cast<size_t>(split)].other = finish;
  connect(part.finish, split);
  return {part.begin, finish + 1, skips ? split : part.start, finish};
}

NfaBuilder::Part NfaBuilder::repeated(const Part& part, int64_t least, std::optional<int64_t> most) {
  const int64_t count = most.value_or(std::max<int64_t>(least, 1));
  std::vector<Part> copies = {part};
  while (static_cast<int64_t>(copies.size()) < count) {
    copies.push_back(copy(part));  // before anything is connected to it
  }
  if (!most) {
    copies.back() = looped(copies.back(), /*skips=*/least == 0);
  }
  // From copy `least` on there is a way out before each.
  const int32_t finish = add({});
  int32_t start = finish, tail = -1;  // tail: the node that leads on
  const auto append = [&](int32_t node) {
    if (tail < 0) {
      start = node;
    } else {
      connect(tail, node);
    }
  };
  for (int64_t i = 0; i < count; ++i) {
    const Part& one = copies[static_cast<size_t>(i)];
    if (most && i >= least) {
      append(add({Nfa::Kind::split, -1, one.start, finish}));
    } else {
      append(one.start);
    }
    tail = one.finish;
  }
  if (tail >= 0) {
    connect(tail, finish);
  }
  return {part.begin, static_cast<int32_t>(nfa_.nodes.size()), start, finish};
}

Nfa NfaBuilder::finish(const Part& part) && {
  nfa_.start = part.start;
  nfa_.accept = part.finish;
  return std::move(nfa_);
}

}  // namespace demask

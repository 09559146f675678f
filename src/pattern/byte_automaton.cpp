#include "pattern/byte_automaton.h"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <utility>

#include "core/error.h"
#include "pattern/state_table.h"

namespace demask {
namespace {

// What the construction of ten thousand states may take: a second or two, and 64 MiB of sets of nodes.
constexpr int64_t most_visits = 200000000;
constexpr int64_t most_kept = int64_t{1} << 24;

// Numbers for the classes of bytes that no set tells apart.
std::array<int32_t, 256> byte_classes(const std::vector<ByteSet>& sets, const ByteSet& usable, int32_t& count) {
  std::array<int32_t, 256> class_of = {};
  count = 1;
  const auto refine = [&](const ByteSet& set) {
    std::map<std::pair<int32_t, bool>, int32_t> numbers;
    for (size_t byte = 0; byte < class_of.size(); ++byte) {
      const auto key = std::make_pair(class_of[byte], set[byte]);
      class_of[byte] = numbers.emplace(key, static_cast<int32_t>(numbers.size())).first->second;
    }
    count = static_cast<int32_t>(numbers.size());
  };
  refine(usable);
  for (size_t i = 0; i < sets.size() && count < 256; ++i) {
    refine(sets[i]);
  }
  return class_of;
}

struct NodesHash {
  size_t operator()(const std::vector<int32_t>& nodes) const {
    uint64_t hash = 1469598103934665603u;  // FNV-1a
    for (const int32_t node : nodes) {
      hash = (hash ^ static_cast<uint32_t>(node)) * 1099511628211u;
    }
    return hash;
  }
};

class SubsetConstruction {
 public:
  SubsetConstruction(const Nfa& nfa, const ByteSet& usable, const std::array<int32_t, 256>& class_of, int32_t classes)
      : nfa_(nfa), seen_(nfa.nodes.size(), 0) {
    table_.classes = classes;
    for (const ByteSet& set : nfa.sets) {
      std::vector<uint8_t> has(static_cast<size_t>(classes), 0);
      classes_of_set_.emplace_back();
      for (size_t byte = 0; byte < class_of.size(); ++byte) {
        if (set[byte] && usable[byte] && !std::exchange(has[static_cast<size_t>(class_of[byte])], uint8_t{1})) {
          classes_of_set_.back().push_back(class_of[byte]);
        }
      }
    }
  }

  StateTable construct() {
    state_of({nfa_.start});
    std::vector<std::vector<int32_t>> targets(static_cast<size_t>(table_.classes));
    for (size_t state = 0; state < nodes_of_.size(); ++state) {
      for (const int32_t node : *nodes_of_[state]) {
        const Nfa::Node& from = nfa_.nodes[static_cast<size_t>(node)];
        if (from.kind == Nfa::Kind::bytes) {
          for (const int32_t c : classes_of_set_[static_cast<size_t>(from.set)]) {
            count_visit();
            targets[static_cast<size_t>(c)].push_back(from.out);
          }
        }
      }
      for (std::vector<int32_t>& reached : targets) {
        table_.next.push_back(reached.empty() ? ByteAutomaton::dead : state_of(reached));
        reached.clear();
      }
    }
    return std::move(table_);
  }

 private:
  void count_visit() {
    if (++visits_ > most_visits) {
      refuse();
    }
  }

  [[noreturn]] void refuse() const {
    fail(ExitCode::bad_usage,
         "pattern takes too long to make an automaton of: {} states are made, and each stands for very many places of "
         "the pattern. Repeat less, above all what may be empty.",
         table_.states());
  }

  // The nodes that are reached from these without a byte and from which a byte leads on, and the accepting one; sorted.
  std::vector<int32_t> closure(const std::vector<int32_t>& from) {
    ++round_;
    std::vector<int32_t> waiting, closed;
    const auto visit = [&](int32_t node) {
      count_visit();
      if (std::exchange(seen_[static_cast<size_t>(node)], round_) != round_) {
        waiting.push_back(node);
      }
    };
    std::for_each(from.begin(), from.end(), visit);
    while (!waiting.empty()) {
      const int32_t number = waiting.back();
      waiting.pop_back();
      const Nfa::Node& node = nfa_.nodes[static_cast<size_t>(number)];
      if (node.kind == Nfa::Kind::bytes || number == nfa_.accept) {
        closed.push_back(number);
        continue;
      }
      visit(node.out);
      if (node.kind == Nfa::Kind::split) {
        visit(node.other);
      }
    }
    std::sort(closed.begin(), closed.end());
    return closed;
  }

  int32_t state_of(const std::vector<int32_t>& from) {
    const auto [found, added] = states_.emplace(closure(from), table_.states());
    if (!added) {
      return found->second;
    }
    if (table_.states() >= most_states) {
      fail(ExitCode::bad_usage,
           "pattern needs more than {} states, which is as many as an automaton may have. Repeat less, or say less "
           "exactly what is repeated.",
           most_states);
    }
    kept_ += static_cast<int64_t>(found->first.size());
    if (kept_ > most_kept) {
      refuse();
    }
    nodes_of_.push_back(&found->first);
    table_.accepts.push_back(
        static_cast<uint8_t>(std::binary_search(found->first.begin(), found->first.end(), nfa_.accept)));
    return found->second;
  }

  const Nfa& nfa_;
  StateTable table_;
  std::vector<std::vector<int32_t>> classes_of_set_;
  std::unordered_map<std::vector<int32_t>, int32_t, NodesHash> states_;
  std::vector<const std::vector<int32_t>*> nodes_of_;
  std::vector<int32_t> seen_;  // the round in which a node was last seen
  int32_t round_ = 0;
  int64_t visits_ = 0, kept_ = 0;
};

}  // namespace

void check_joint_states(int32_t states) {
  if (states > most_joint_states) {
    fail(ExitCode::bad_usage,
         "words: the automaton of the list, or of the list and the pattern together, needs more than {} states, which "
         "is "
         "as many as it may have. Shorten the list, or repeat less in the pattern.",
         most_joint_states);
  }
}

ByteAutomaton::ByteAutomaton(const Nfa& nfa, const ByteSet& usable) {
  class_of_ = byte_classes(nfa.sets, usable, classes_);
  StateTable table = SubsetConstruction(nfa, usable, class_of_, classes_).construct();
  drop_dead_states(table);
  table = minimized(table);
  next_ = std::move(table.next);
  accepts_ = std::move(table.accepts);
}

ByteAutomaton::ByteAutomaton(const std::array<int32_t, 256>& class_of, StateTable table)
    : class_of_(class_of), classes_(table.classes), next_(std::move(table.next)), accepts_(std::move(table.accepts)) {}

ByteAutomaton ByteAutomaton::intersection(const ByteAutomaton& left, const ByteAutomaton& right) {
  std::array<int32_t, 256> class_of = {};
  std::map<std::pair<int32_t, int32_t>, int32_t> class_numbers;
  for (size_t byte = 0; byte < class_of.size(); ++byte) {
    const auto classes = std::make_pair(left.class_of_[byte], right.class_of_[byte]);
    class_of[byte] = class_numbers.emplace(classes, static_cast<int32_t>(class_numbers.size())).first->second;
  }
  std::vector<std::pair<int32_t, int32_t>> classes(class_numbers.size()), states;
  for (const auto& [both, number] : class_numbers) {
    classes[static_cast<size_t>(number)] = both;
  }
  StateTable table;
  table.classes = static_cast<int32_t>(classes.size());
  std::unordered_map<int64_t, int32_t> numbers;
  const auto number_of = [&](int32_t own, int32_t other) {
    if (own == dead || other == dead) {
      return dead;
    }
    const auto [found, added] =
        numbers.emplace(static_cast<int64_t>(own) * right.states() + other, static_cast<int32_t>(states.size()));
    if (added) {
      check_joint_states(found->second + 1);
      states.emplace_back(own, other);
    }
    return found->second;
  };
  number_of(0, 0);
  for (size_t state = 0; state < states.size(); ++state) {
    const auto [own, other] = states[state];
    table.accepts.push_back(static_cast<uint8_t>(left.accepts(own) && right.accepts(other)));
    for (const auto& [own_class, other_class] : classes) {
      table.next.push_back(number_of(left.next_by_class(own, own_class), right.next_by_class(other, other_class)));
    }
  }
  drop_dead_states(table);
  return {class_of, minimized(table)};
}

int32_t ByteAutomaton::next(int32_t state, std::string_view bytes) const {
  for (const char byte : bytes) {
    state = next_by_class(state, class_of(static_cast<unsigned char>(byte)));
    if (state == dead) {
      break;
    }
  }
  return state;
}

bool ByteAutomaton::matches(std::string_view text) const {
  const int32_t end = next(0, text);
  return end != dead && accepts(end);
}

}  // namespace demask

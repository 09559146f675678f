#include "pattern/state_table.h"

#include <algorithm>
#include <utility>

namespace demask {
namespace {

// For every class of bytes the states that lead to each, the dead one, number states(), too.
class Predecessors {
 public:
  explicit Predecessors(const StateTable& table) : states_(table.states() + 1) {
    const auto all = static_cast<size_t>(states_);
    first_.assign(all * static_cast<size_t>(table.classes) + 1, 0);
    const auto for_each = [&](auto&& visit) {
      for (int32_t c = 0; c < table.classes; ++c) {
        for (int32_t state = 0; state < table.states(); ++state) {
          const int32_t to = table.at(state, c);
          visit(slot(to < 0 ? table.states() : to, c), state);
        }
        visit(slot(table.states(), c), table.states());
      }
    };
    for_each([&](size_t slot, int32_t) { ++first_[slot + 1]; });
    for (size_t i = 1; i < first_.size(); ++i) {
      first_[i] += first_[i - 1];
    }
    from_.resize(first_.back());
    std::vector<size_t> filled(first_.begin(), first_.end() - 1);
    for_each([&](size_t slot, int32_t state) { from_[filled[slot]++] = state; });
  }

  const int32_t* begin(int32_t to, int32_t c) const { return from_.data() + first_[slot(to, c)]; }
  const int32_t* end(int32_t to, int32_t c) const { return from_.data() + first_[slot(to, c) + 1]; }

 private:
  size_t slot(int32_t to, int32_t c) const {
    return static_cast<size_t>(c) * static_cast<size_t>(states_) + static_cast<size_t>(to);
  }

  int32_t states_;
  std::vector<size_t> first_;
  std::vector<int32_t> from_;
};

// A partition of states into blocks, each a range of `order`, whose marked states stand first.
class Partition {
 public:
  explicit Partition(int32_t states) : place_(static_cast<size_t>(states)), block_(static_cast<size_t>(states), 0) {
    for (int32_t state = 0; state < states; ++state) {
      order_.push_back(state);
      place_[static_cast<size_t>(state)] = state;
    }
    blocks_.push_back({0, states, 0});
  }

  int32_t block_of(int32_t state) const { return block_[static_cast<size_t>(state)]; }
  int32_t blocks() const { return static_cast<int32_t>(blocks_.size()); }
  int32_t size(int32_t block) const { return at(block).end - at(block).begin; }
  std::vector<int32_t> members(int32_t block) const {
    return {order_.begin() + at(block).begin, order_.begin() + at(block).end};
  }

  void mark(int32_t state) {
    Block& block = blocks_[static_cast<size_t>(block_of(state))];
    const int32_t place = place_[static_cast<size_t>(state)], border = block.begin + block.marked;
    if (place < border) {
      return;
    }
    if (block.marked++ == 0) {
      touched_.push_back(block_of(state));
    }
    const int32_t other = order_[static_cast<size_t>(border)];
    std::swap(order_[static_cast<size_t>(place)], order_[static_cast<size_t>(border)]);
    place_[static_cast<size_t>(other)] = place;
    place_[static_cast<size_t>(state)] = border;
  }

  // Parts each block with marked and other states in two; `on_split` is told the old block and the new one, which is
  // the smaller.
  template <typename OnSplit>
  void split(OnSplit on_split) {
    for (const int32_t number : std::exchange(touched_, {})) {
      Block& block = blocks_[static_cast<size_t>(number)];
      const int32_t marked = std::exchange(block.marked, 0), others = block.end - block.begin - marked;
      if (others == 0) {
        continue;
      }
      const int32_t border = block.begin + marked;
      const Block smaller = marked <= others ? Block{block.begin, border, 0} : Block{border, block.end, 0};
      (marked <= others ? block.begin : block.end) = border;
      const int32_t added = blocks();
      for (int32_t i = smaller.begin; i < smaller.end; ++i) {
        block_[static_cast<size_t>(order_[static_cast<size_t>(i)])] = added;
      }
      blocks_.push_back(smaller);
      on_split(number, added);
    }
  }

 private:
  struct Block {
    int32_t begin = 0, end = 0, marked = 0;
  };
  const Block& at(int32_t block) const { return blocks_[static_cast<size_t>(block)]; }

  std::vector<int32_t> order_, place_, block_, touched_;
  std::vector<Block> blocks_;
};

// Blocks of states that no text tells apart. Hopcroft's worklist, of blocks for all classes of bytes at once.
Partition equivalent_states(const StateTable& table) {
  const Predecessors predecessors(table);
  Partition partition(table.states() + 1);
  std::vector<int32_t> waiting;
  std::vector<uint8_t> waits(static_cast<size_t>(table.states()) + 2, 0);
  const auto add = [&](int32_t block) {
    if (!std::exchange(waits[static_cast<size_t>(block)], uint8_t{1})) {
      waiting.push_back(block);
    }
  };
  for (int32_t state = 0; state < table.states(); ++state) {
    if (table.accepts[static_cast<size_t>(state)] != 0) {
      partition.mark(state);
    }
  }
  add(0);
  // Where the old block waits, it goes on to stand for its larger part; where it does not, the smaller part will do.
  partition.split([&](int32_t /*old*/, int32_t added) { add(added); });
  while (!waiting.empty()) {
    const int32_t splitter = waiting.back();
    waiting.pop_back();
    waits[static_cast<size_t>(splitter)] = 0;
    const std::vector<int32_t> members = partition.members(splitter);  // it may itself be split on the way
    for (int32_t c = 0; c < table.classes; ++c) {
      for (const int32_t to : members) {
        std::for_each(predecessors.begin(to, c), predecessors.end(to, c), [&](int32_t from) { partition.mark(from); });
      }
      partition.split([&](int32_t /*old*/, int32_t added) { add(added); });
    }
  }
  return partition;
}

}  // namespace

void drop_dead_states(StateTable& table) {
  const Predecessors predecessors(table);
  std::vector<uint8_t> lives = table.accepts;
  std::vector<int32_t> waiting;
  for (int32_t state = 0; state < table.states(); ++state) {
    if (lives[static_cast<size_t>(state)] != 0) {
      waiting.push_back(state);
    }
  }
  while (!waiting.empty()) {
    const int32_t to = waiting.back();
    waiting.pop_back();
    for (int32_t c = 0; c < table.classes; ++c) {
      std::for_each(predecessors.begin(to, c), predecessors.end(to, c), [&](int32_t from) {
        if (!std::exchange(lives[static_cast<size_t>(from)], uint8_t{1})) {
          waiting.push_back(from);
        }
      });
    }
  }
  for (int32_t& to : table.next) {
    to = to >= 0 && lives[static_cast<size_t>(to)] != 0 ? to : -1;
  }
}

StateTable minimized(const StateTable& table) {
  const Partition partition = equivalent_states(table);
  const int32_t dead_block = partition.block_of(table.states());
  std::vector<int32_t> number(static_cast<size_t>(partition.blocks()), -1), example;
  const auto numbered = [&](int32_t state) {
    const int32_t block = partition.block_of(state);
    if (block == dead_block && !example.empty()) {
      return -1;
    }
    int32_t& own = number[static_cast<size_t>(block)];
    if (own < 0) {
      own = static_cast<int32_t>(example.size());
      example.push_back(state);
    }
    return own;
  };
  StateTable smallest;
  smallest.classes = table.classes;
  numbered(0);
  for (size_t state = 0; state < example.size(); ++state) {
    const int32_t from = example[state];
    smallest.accepts.push_back(table.accepts[static_cast<size_t>(from)]);
    for (int32_t c = 0; c < table.classes; ++c) {
      const int32_t to = table.at(from, c);
      smallest.next.push_back(to < 0 ? -1 : numbered(to));
    }
  }
  return smallest;
}

}  // namespace demask

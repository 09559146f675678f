// The draw of src/kernels/cuda_pattern.cu as a CPU does it: the same parts in the same order, by teams of threads that
// meet at barriers, so that what the GPU computes is tested where there is none.
#pragma once

#include <pthread.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "kernels/pattern_draw.h"

namespace demask::testing {

using namespace demask::kernels;

// What the threads of a team share.
class TeamRoom {
 public:
  explicit TeamRoom(int size) : values(static_cast<size_t>(size)), offers(values.size()) {
    pthread_barrier_init(&barrier_, nullptr, static_cast<unsigned>(size));
  }
  ~TeamRoom() { pthread_barrier_destroy(&barrier_); }
  TeamRoom(const TeamRoom&) = delete;
  TeamRoom& operator=(const TeamRoom&) = delete;

  void wait() { pthread_barrier_wait(&barrier_); }

  std::vector<double> values;
  std::vector<uint32_t> offers;

 private:
  pthread_barrier_t barrier_{};
};

class Team {
 public:
  Team(TeamRoom& room, int rank) : room_(&room), rank_(rank) {}

  int rank() const { return rank_; }
  int size() const { return static_cast<int>(room_->values.size()); }
  void sync() { room_->wait(); }
  float max(float x) {
    return static_cast<float>(
        over_all(static_cast<double>(x), [](const auto& all) { return *std::max_element(all.begin(), all.end()); }));
  }
  double sum(double x) { return upto(x, size() - 1); }
  bool all(bool x) {
    return over_all(x ? 1 : 0, [](const auto& all) { return *std::min_element(all.begin(), all.end()); }) > 0;
  }
  double scan(double x) { return upto(x, rank_); }
  int first(bool x) {
    return found(x, [](int one, int other) { return other < 0 ? one : other; });
  }
  int last(bool x) {
    return found(x, [](int one, int /*other*/) { return one; });
  }
  double of_last_rank(double x) {
    return over_all(x, [](const auto& all) { return all.back(); });
  }
  void offer(uint32_t x) { room_->offers[static_cast<size_t>(rank_)] = x; }
  uint32_t offered() const { return *std::max_element(room_->offers.begin(), room_->offers.end()); }
  SingleThread warp() { return {}; }
  int warp_rank() const { return rank_; }
  int warps() const { return size(); }

 private:
  template <typename Combine>
  double over_all(double x, Combine combine) {
    room_->values[static_cast<size_t>(rank_)] = x;
    sync();
    const double result = combine(room_->values);
    sync();
    return result;
  }
  double upto(double x, int last) {
    return over_all(x, [last](const auto& all) {
      double sum = 0;
      for (int rank = 0; rank <= last; ++rank) {
        sum += all[static_cast<size_t>(rank)];
      }
      return sum;
    });
  }
  template <typename Choose>
  int found(bool x, Choose choose) {
    return static_cast<int>(over_all(x ? 1 : 0, [choose](const auto& all) {
      int chosen = -1;
      for (int rank = 0; rank < static_cast<int>(all.size()); ++rank) {
        chosen = all[static_cast<size_t>(rank)] > 0 ? choose(rank, chosen) : chosen;
      }
      return static_cast<double>(chosen);
    }));
  }

  TeamRoom* room_;
  int rank_;
};

// Calls work(team) in so many threads; alone in this one.
template <typename Work>
void by_team(int size, Work work) {
  if (size == 1) {
    SingleThread alone;
    work(alone);
    return;
  }
  TeamRoom room(size);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&room, rank, &work] {
      Team team(room, rank);
      work(team);
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

struct HostRows {
  const double* weights;
  const int32_t* fixed_as;
  int64_t room;
  int32_t fixed(int64_t t) const { return fixed_as[t]; }
  template <typename Team>
  const double* at(int64_t t, Team& /*team*/) const {
    return weights + t * room;
  }
};

struct HostReader {
  const PatternArguments& a;
  float operator()(int64_t row, int64_t id) const {
    return static_cast<const float*>(a.logits)[row * a.row_stride + id];
  }
};

// Which of the ways that the kernels have is taken.
struct HostWays {
  int threads = 1;
  bool buffered = true;  // messages of two positions are held
  bool composed = true;  // the walk is
};

template <PatternNumbers numbers>
void weigh_text(const PatternArguments& a, const PatternTable& table, int64_t b, PatternSource source, int threads) {
  by_team(threads, [&](auto& team) {
    for (int64_t t = 0; t < a.length; ++t) {
      weigh_position<numbers>(a, table, HostReader{a}, b * a.length + t, source, team);
    }
  });
}

inline int32_t most_edges(const PatternTable& table) {
  int32_t most = 0;
  for (int32_t state = 0; state < table.states; ++state) {
    most = std::max(most, table.first_edge[state + 1] - table.first_edge[state]);
  }
  return most;
}

// Scaled messages of few states, in stretches as short as make several of a text.
template <int each, int most_edges, typename Team>
void send_few(const PatternArguments& a, const PatternTable& table, int64_t b, std::vector<double>& room, Team& team) {
  constexpr int64_t longest = 6;
  const int64_t width = each * team.size();
  const double* weights = a.weights + b * a.length * a.weights_room;
  const int32_t* fixed = a.fixed + b * a.length;
  double* out = a.messages + b * (a.length + 1) * a.states_room;
  const auto keep = [&](int64_t t, const double* messages) {
    team.sync();
    for (int64_t state = team.rank(); state < a.states_room; state += team.size()) {
      out[t * a.states_room + state] = messages[state];
    }
  };
  FewMessages<each, most_edges> few(table, a.weights_room, team.rank(), team.size());
  double* ring = room.data();  // what comes before stretches, and two of them, each behind room for that
  few.begin(ring, team);
  keep(a.length, ring);
  bool upper = false;
  for (int64_t end = a.length; end > 0; end -= longest) {
    MessageStretch stretch;
    stretch.positions = static_cast<int>(std::min(end, longest));
    stretch.weights = weights + (end - 1) * a.weights_room;
    stretch.fixed = fixed + end - 1;
    stretch.messages = ring + (2 + (upper ? longest + 1 : 0)) * width;
    stretch.plain = std::all_of(fixed + end - stretch.positions, fixed + end, [&](int32_t one) {
      return one == free_position || (one != unshown_position && table.ended < 0);
    });
    few.pass(stretch, team);
    for (int i = 0; i < stretch.positions; ++i) {
      keep(end - 1 - i, stretch.messages + i * width);
    }
    upper = !upper;
  }
  team.sync();
}

template <PatternNumbers numbers>
bool send_text(const PatternArguments& a, const PatternTable& table, int64_t b, const HostWays& ways) {
  constexpr int each = 16;  // states of a thread that FewMessages has
  constexpr int64_t positions = 15;
  std::vector<double> buffers(static_cast<size_t>(positions * std::max(a.states_room, each * ways.threads)));
  bool holds = true;
  by_team(ways.threads, [&](auto& team) {
    HostRows rows{a.weights + b * a.length * a.weights_room, a.fixed + b * a.length, a.weights_room};
    if (numbers == PatternNumbers::scaled && ways.buffered && table.states <= each * team.size()) {
      const int32_t most = most_edges(table);
      most <= 2   ? send_few<each, 2>(a, table, b, buffers, team)
      : most <= 4 ? send_few<each, 4>(a, table, b, buffers, team)
                  : send_few<each, 0>(a, table, b, buffers, team);
      return;
    }
    const bool own = send_messages<numbers>(a, table, b, rows, ways.buffered ? buffers.data() : nullptr, team);
    if (team.rank() == 0) {
      holds = own;
    }
  });
  const double* messages = a.messages + b * (a.length + 1) * a.states_room;
  return holds && (numbers != PatternNumbers::scaled ||
                   std::all_of(messages, messages + a.length * a.states_room, in_message_range));
}

template <PatternNumbers numbers>
bool decide_text(const PatternArguments& a, const PatternTable& table, int64_t b, PatternSource source,
                 const HostWays& ways) {
  weigh_text<numbers>(a, table, b, source, ways.threads);
  const bool holds = send_text<numbers>(a, table, b, ways) &&
                     (numbers != PatternNumbers::scaled ||
                      std::all_of(a.holds + b * a.length, a.holds + (b + 1) * a.length, [](bool one) { return one; }));
  const bool possible = a.messages[b * (a.length + 1) * a.states_room] > pattern_none<numbers>();
  a.numbers[b] = holds && possible ? numbers : PatternNumbers::undecided;
  a.source[b] = source;
  return holds && possible;
}

inline void draw_matching_on_host(const PatternArguments& a, const HostWays& ways) {
  for (int64_t b = 0; b < a.batch; ++b) {
    if (a.table_at[b] < 0) {
      continue;
    }
    const PatternTable table = pattern_table(a.tables + a.table_at[b], a.outputs);
    if (a.temperatures == nullptr && a.temperature == 0) {
      decide_text<PatternNumbers::likeliest>(a, table, b, PatternSource::filtered, ways) ||
          decide_text<PatternNumbers::likeliest>(a, table, b, PatternSource::unfiltered, ways);
    } else {
      decide_text<PatternNumbers::scaled>(a, table, b, PatternSource::filtered, ways) ||
          decide_text<PatternNumbers::logarithms>(a, table, b, PatternSource::filtered, ways) ||
          decide_text<PatternNumbers::logarithms>(a, table, b, PatternSource::unfiltered, ways);
    }
    for (int64_t t = 0; t < a.length; ++t) {
      for (int32_t state = 0; state < table.states; ++state) {
        const PatternChoice choice = choose_next(a, table, HostReader{a}, b, t, state);
        a.next[(b * a.length + t) * a.states_room + state] = std::max(choice.next, 0);
      }
    }
    std::vector<uint8_t> room(static_cast<size_t>(walk_room(a.length, table.states)));
    by_team(ways.threads,
            [&](auto& team) { walk(a, table, b, ways.composed && table.states <= 256 ? room.data() : nullptr, team); });
    by_team(ways.threads, [&](auto& team) {
      for (int64_t t = 0; t < a.length; ++t) {
        pick_token(a, table, HostReader{a}, b * a.length + t, team);
      }
    });
  }
}

}  // namespace demask::testing

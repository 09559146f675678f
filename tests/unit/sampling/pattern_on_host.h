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
#include "kernels/pattern_spans.h"
#include "kernels/pattern_sums.h"

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
  template <size_t count>
  void scan_within(double (&x)[count], const int32_t (&before)[count]) {
    for (size_t k = 0; k < count; ++k) {
      const int from = std::max(rank_ - before[k], 0);
      x[k] = over_all(x[k], [&](const auto& all) {
        double sum = 0;
        for (int rank = from; rank <= rank_; ++rank) {
          sum += all[static_cast<size_t>(rank)];
        }
        return sum;
      });
    }
  }
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
  bool by_spans = true;  // texts of few states and outputs go by spans
};

// The weights of a text of few outputs, with the sums within classes.
template <int chunks, typename Team>
void weigh_summed(const PatternArguments& a, const PatternTable& table, int64_t b, float* stage, Team& team) {
  const SummedWeights<chunks> own(table, team.rank(), team.size());
  for (int64_t row = b * a.length; row < (b + 1) * a.length; ++row) {
    if (!weigh_settled<PatternNumbers::scaled>(a, table, row, team)) {
      own.weigh(a, table, HostReader{a}, row, stage, team);
    }
    team.sync();
  }
}

template <PatternNumbers numbers>
void weigh_text(const PatternArguments& a, const PatternTable& table, int64_t b, PatternSource source, int threads) {
  std::vector<float> stage(static_cast<size_t>(most_summed));
  by_team(threads, [&](auto& team) {
    if (numbers == PatternNumbers::scaled && a.sums != nullptr) {
      threads == 1 ? weigh_summed<most_summed>(a, table, b, stage.data(), team)
                   : weigh_summed<most_summed / 2>(a, table, b, stage.data(), team);
      return;
    }
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

// What a text's draw by spans works in.
struct SpanText {
  static constexpr int width = most_span_states;

  const PatternArguments& a;
  const PatternTable& table;
  int64_t b;
  PatternSpans spans{table.ways.span, a.length};
  std::vector<double> products = std::vector<double>(static_cast<size_t>(spans.count() * (table.ways.products + 1)));
  std::vector<double> between = std::vector<double>(static_cast<size_t>((spans.count() + 1) * width));
  std::vector<uint8_t> steps = std::vector<uint8_t>(static_cast<size_t>(SpanWalk::bytes(a.length, spans.count())));

  const double* weights(int64_t t) const { return a.weights + (b * a.length + t) * a.weights_room; }
  int32_t fixed(int64_t t) const { return a.fixed[b * a.length + t]; }
  double* after(int number) { return between.data() + number * width; }
  double* messages(int64_t t) const { return a.messages + (b * (a.length + 1) + t) * a.states_room; }
};

inline bool is_plain_span(const SpanText& text, int number) {
  return is_plain_span(text.table, text.spans, number, text.a.fixed + text.b * text.a.length);
}

// The messages before a span; whether they keep to their range.
inline bool pass_span(SpanText& text, int number) {
  const PatternTable& table = text.table;
  const bool plain = is_plain_span(text, number);
  std::vector<double> after(text.after(number), text.after(number + 1)), now(after.size());
  for (int t = text.spans.end(number) - 1; t >= text.spans.first(number) && !plain; --t) {
    for (int32_t state = 0; state < table.states; ++state) {
      now[static_cast<size_t>(state)] = any_step(table, state, text.weights(t), after.data(), text.fixed(t), 0).message;
    }
    after = now;
  }
  for (int32_t state = 0; state < table.states && plain; ++state) {
    const KeptWays<most_ways> ways(table, table.ways.of_state, state);
    KeptWays<most_ways>::Numbers weights, messages;
    ways.read_weights(text.products.data() + number * (table.ways.products + 1), weights);
    ways.read_messages(after.data(), messages);
    now[static_cast<size_t>(state)] = KeptWays<most_ways>::message(weights, messages);
  }
  uint32_t largest = 0;
  for (const double message : now) {
    largest = std::max(largest, upper_half(message));
  }
  bool holds = true;
  for (int32_t state = 0; state < table.states; ++state) {
    const double message = now[static_cast<size_t>(state)] * inverse_power(largest);
    holds = holds && (message == 0 || is_in_range(message, least_span_message));
    text.after(number + 1)[state] = message;
  }
  return holds;
}

// Where the positions of a span lead to, of tables whose states have up to so many edges, or any number.
template <int most>
void follow_span(SpanText& text, int number) {
  const PatternTable& table = text.table;
  const SpanWalk walk(text.spans, text.steps.data());
  const bool plain = most > 0 && is_plain_span(text, number);
  std::vector<double> after(text.after(number), text.after(number + 1)), now(after.size());
  for (int t = text.spans.end(number) - 1; t >= text.spans.first(number); --t) {
    std::copy_n(after.begin(), table.states, text.messages(t + 1));
    const auto uniform = static_cast<double>(text.a.uniforms[text.b * text.a.length + t]);
    for (int32_t state = 0; state < table.states; ++state) {
      const PatternStep step =
          plain ? plain_step(AllEdges<std::max(most, 1)>(table, state), text.weights(t), after.data(), uniform)
                : any_step(table, state, text.weights(t), after.data(), text.fixed(t), uniform);
      now[static_cast<size_t>(state)] = step.message;
      walk.steps(t)[state] = static_cast<uint8_t>(step.next);
    }
    after = now;
  }
  for (int32_t state = 0; state < table.states; ++state) {
    walk.compose(number, state);
  }
}

// False where scaled messages by spans do not hold the text, and its path is to be found another way.
inline bool find_path_by_spans(const PatternArguments& a, const PatternTable& table, int64_t b, int threads) {
  weigh_text<PatternNumbers::scaled>(a, table, b, PatternSource::filtered, threads);
  SpanText text{a, table, b};
  bool holds = std::all_of(a.holds + b * a.length, a.holds + (b + 1) * a.length, [](bool one) { return one; });
  by_team(threads, [&](auto& team) {
    const bool own = team.all(make_products(table.ways, text.spans, text.weights(0), a.weights_room, table.ways.classes,
                                            text.products.data(), team));
    if (team.rank() == 0) {
      holds = holds && own;
    }
  });
  for (int32_t state = 0; state < table.states; ++state) {
    text.between[static_cast<size_t>(state)] = table.accepts[state] != 0 ? 1 : 0;
  }
  const int32_t most = most_edges(table);
  for (int number = 0; number < text.spans.count(); ++number) {
    holds = pass_span(text, number) && holds;
    most <= 2 ? follow_span<2>(text, number) : most <= 4 ? follow_span<4>(text, number) : follow_span<0>(text, number);
  }
  if (!holds || !is_in_range(text.after(text.spans.count())[0], least_span_message)) {
    return false;
  }
  a.numbers[b] = PatternNumbers::scaled;
  a.source[b] = PatternSource::filtered;
  by_team(threads, [&](auto& team) {
    SpanWalk(text.spans, text.steps.data()).go(table.states, team, [&](int t, uint8_t state) {
      a.path[b * a.length + t] = state;
    });
  });
  return true;
}

// The same position by position.
inline void find_path(const PatternArguments& a, const PatternTable& table, int64_t b, const HostWays& ways) {
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
}

inline void draw_matching_on_host(const PatternArguments& a, const HostWays& ways) {
  for (int64_t b = 0; b < a.batch; ++b) {
    if (a.table_at[b] < 0) {
      continue;
    }
    const PatternTable table = pattern_table(a.tables + a.table_at[b], a.outputs);
    const bool greedy = a.temperatures == nullptr && a.temperature == 0;
    if (!ways.by_spans || greedy || a.spans_room == 0 || a.states_room > most_span_states ||
        !find_path_by_spans(a, table, b, ways.threads)) {
      find_path(a, table, b, ways);
    }
    const bool summed = a.numbers[b] == PatternNumbers::scaled && a.sums != nullptr;
    for (int64_t row = b * a.length; row < (b + 1) * a.length && summed; ++row) {
      pick_summed(a, table, HostReader{a}, row);
    }
    by_team(ways.threads, [&](auto& team) {
      for (int64_t t = 0; t < a.length && !summed; ++t) {
        pick_token(a, table, HostReader{a}, b * a.length + t, team);
      }
    });
  }
}

}  // namespace demask::testing

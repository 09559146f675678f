// The joint draw of texts of few states, stretch by stretch: all stretches' matrices of transfer at once, messages
// where stretches begin, messages within all stretches at once, and with them the ways through each. See
// pattern_draw.h, whose teams of threads these are for, and transfer_plan.h.
#pragma once

#include "kernels/pattern_messages.h"
#include "kernels/transfer_plan.h"

namespace demask::kernels {

// Whether a text is drawn by stretches; greedy: at temperature 0.
DEMASK_EVERYWHERE inline bool is_stretched(const PatternArguments& a, const PatternTable& table, bool greedy) {
  return a.transfer != nullptr && !greedy && table.states <= transfer_width && table.classes <= most_transfer_classes;
}

DEMASK_EVERYWHERE inline int stretch_size(const PatternArguments& a, int64_t stretch) {
  const int64_t left = a.length - stretch * stretch_positions;
  return static_cast<int>(left < stretch_positions ? left : stretch_positions);
}

// Whether a stretch has a matrix: all positions are there and belong to the text, whose first ones may not.
DEMASK_EVERYWHERE inline bool has_matrix(const PatternArguments& a, int64_t b, int64_t stretch) {
  return stretch_size(a, stretch) == stretch_positions &&
         a.fixed[b * a.length + stretch * stretch_positions] != unshown_position;
}

DEMASK_EVERYWHERE inline double* matrix_of(const PatternArguments& a, int64_t b, int64_t stretch) {
  constexpr int64_t numbers = most_transfer_row * transfer_width;
  return a.transfer + (b * stretches_of(a.length) + stretch) * numbers;
}

DEMASK_EVERYWHERE inline double* messages_at(const PatternArguments& a, int64_t b, int64_t t) {
  return a.messages + (b * (a.length + 1) + t) * a.states_room;
}

// What the threads that make a matrix share.
struct TransferRoom {
  static constexpr int most_slots = 32;
  double values[2][most_level_entries];
  uint32_t largest[2][most_slots];  // upper halves, of each part of a matrix that threads share
};

// How a team's threads divide so many matrices.
template <typename Team>
struct Shares {
  int matrices, each, first, at_once;  // warps of a matrix, this warp's first one, and how many are made at a time
  int part;                            // of a matrix, this warp's

  DEMASK_EVERYWHERE Shares(int of, Team& team)
      : matrices(of),
        each(team.warps() < of ? 1 : team.warps() / of),
        first(team.warp_rank() / each),
        at_once(team.warps() / each),
        part(team.warp_rank() % each) {}
};

// The matrices of this level and those above, each from those of half as many positions; a stretch's own go to `into`.
template <int level, typename Team>
DEMASK_EVERYWHERE void multiply_from(const TransferPlan& plan, TransferRoom& room, double* into, Team& team) {
  team.sync();
  auto warp = team.warp();
  const Shares<Team> shares(stretch_positions >> level, team), halves(stretch_positions >> (level - 1), team);
  const int32_t entries = plan.entries(level), half_entries = plan.entries(level - 1);
  const int32_t *first = plan.first(level), *parts = plan.parts(level);
  const uint32_t* largest_halves = room.largest[(level - 1) & 1];
  const auto scale_of = [&](int half) {
    uint32_t largest = 0;
    for (int part = 0; part < halves.each; ++part) {
      const uint32_t one = largest_halves[half * halves.each + part];
      largest = one > largest ? one : largest;
    }
    return inverse_power(largest);
  };
  for (int matrix = shares.first; matrix < shares.matrices; matrix += shares.at_once) {
    const double* left = room.values[(level - 1) & 1] + 2 * matrix * half_entries;
    const double* right = left + half_entries;
    const double left_scale = scale_of(2 * matrix), right_scale = scale_of(2 * matrix + 1);
    double* out = level == transfer_levels ? into : room.values[level & 1] + matrix * entries;
    uint32_t largest = 0;
    for (int32_t entry = shares.part * warp.size() + warp.rank(); entry < entries; entry += shares.each * warp.size()) {
      double sum = 0;
      for (int32_t i = first[entry]; i < first[entry + 1]; ++i) {
        const auto pair = static_cast<uint32_t>(parts[i]);
        sum += left[pair & 0xFFFFU] * left_scale * (right[pair >> 16] * right_scale);
      }
      out[entry] = sum;
      const uint32_t upper = upper_half(sum);
      largest = upper > largest ? upper : largest;
    }
    warp.offer(largest);
    if (warp.rank() == 0 && level < transfer_levels) {
      room.largest[level & 1][matrix * shares.each + shares.part] = warp.offered();
    }
  }
  if constexpr (level < transfer_levels) {
    multiply_from<level + 1>(plan, room, into, team);
  }
}

// The matrix of a stretch that has one. Products that vanish beside others are lost; where they are all that a message
// has, take_stretch finds out.
template <typename Team>
DEMASK_EVERYWHERE void make_matrix(const PatternArguments& a, const TransferPlan& plan, int64_t b, int64_t stretch,
                                   TransferRoom& room, Team& team) {
  auto warp = team.warp();
  const Shares<Team> shares(stretch_positions, team);
  const int32_t entries = plan.entries(0), ended = plan.packed[plan_ended], left = plan.packed[plan_left];
  const int32_t *first = plan.first(0), *classes = plan.parts(0);
  for (int position = shares.first; position < stretch_positions; position += shares.at_once) {
    const int64_t row = b * a.length + stretch * stretch_positions + position;
    const double* weights = a.weights + row * a.weights_room;
    const bool given = a.fixed[row] != free_position;
    uint32_t largest = 0;
    for (int32_t entry = shares.part * warp.size() + warp.rank(); entry < entries; entry += shares.each * warp.size()) {
      double sum = 0;
      for (int32_t i = first[entry]; i < first[entry + 1]; ++i) {
        sum += weights[classes[i]];
      }
      sum = given && entry >= ended && entry < left ? 0 : sum;
      room.values[0][position * entries + entry] = sum;
      const uint32_t upper = upper_half(sum);
      largest = upper > largest ? upper : largest;
    }
    warp.offer(largest);
    if (warp.rank() == 0) {
      room.largest[0][position * shares.each + shares.part] = warp.offered();
    }
  }
  multiply_from<1>(plan, room, matrix_of(a, b, stretch), team);
}

// The columns of a row's entries in a stretch's matrix; in registers where there are `most`, behind the row's own being
// any whose entries are zero.
template <int most>
struct RowColumns {
  const int32_t* columns;
  int32_t row;
  int32_t kept[static_cast<size_t>(most == 0 ? 1 : most)];

  DEMASK_EVERYWHERE RowColumns(const TransferPlan& plan, int32_t state) : columns(plan.columns()), row(plan.row()) {
    for (int k = 0; k < most; ++k) {
      kept[k] = k < row ? columns[k * transfer_width + state] : 0;
    }
  }
  // The state's message before a stretch.
  DEMASK_EVERYWHERE double message(const double* matrix, const double* after, int32_t state) const {
    constexpr int chains = 4;  // of additions that do not wait for each other
    double sums[chains]{};
    if (most == 0) {
      for (int32_t k = 0; k < row; ++k) {
        sums[k % chains] += matrix[k * transfer_width + state] * after[columns[k * transfer_width + state]];
      }
    }
    for (int k = 0; k < most; ++k) {
      sums[k % chains] += matrix[k * transfer_width + state] * after[kept[k]];
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
  }
};

// Fills a text's messages where stretches begin, and of stretches without a matrix. matrices: of stretches as they are
// asked for, from the last one that has one on, once they begin(): expect() before a sync of the team, at() after it.
// buffers [2, transfer_width] that all threads share. most: of a row's entries, at least, where the team has a thread a
// state; or 0.
template <int most, typename Matrices, typename Team>
DEMASK_EVERYWHERE void send_by_stretches(const PatternArguments& a, const PatternTable& table, int64_t b,
                                         Matrices& matrices, double* buffers, Team& team) {
  const TransferPlan plan{table.plan};
  const RowColumns<most> own(plan, team.rank() < table.states ? team.rank() : 0);
  matrices.begin();
  double *after = buffers, *now = buffers + transfer_width;
  for (int32_t state = team.rank(); state < transfer_width; state += team.size()) {
    after[state] = state < table.states && table.accepts[state] != 0 ? 1.0 : 0.0;
    now[state] = 0;
    if (state < table.states) {
      messages_at(a, b, a.length)[state] = after[state];
    }
  }
  // Every second message is scaled, by the largest of those it is made from.
  bool scales = false;
  const auto pass = [&](int64_t t, auto message_of) {
    const double scale = scales ? inverse_power(team.offered()) : 1;
    uint32_t largest = 0;
    for (int32_t state = team.rank(); state < table.states; state += team.size()) {
      const double message = message_of(state) * scale;
      now[state] = message;
      messages_at(a, b, t)[state] = message;
      const uint32_t upper = upper_half(message);
      largest = upper > largest ? upper : largest;
    }
    if (!scales) {
      team.offer(largest);
    }
    scales = !scales;
    double* other = after;
    after = now;
    now = other;
  };
  for (int64_t stretch = stretches_of(a.length) - 1; stretch >= 0; --stretch) {
    if (matrices.has(stretch)) {
      matrices.expect();
      team.sync();
      const double* matrix = matrices.at(stretch);
      pass(stretch * stretch_positions, [&](int32_t state) {
        return most == 0 ? RowColumns<0>(plan, state).message(matrix, after, state) : own.message(matrix, after, state);
      });
      continue;
    }
    for (int64_t t = stretch * stretch_positions + stretch_size(a, stretch) - 1; t >= stretch * stretch_positions;
         --t) {
      team.sync();
      const int32_t fixed = a.fixed[b * a.length + t];
      const double* weights = a.weights + (b * a.length + t) * a.weights_room;
      pass(t, [&](int32_t state) {
        const int32_t first = table.first_edge[state], last = table.first_edge[state + 1];
        return fixed == unshown_position ? after[state]
               : fixed != free_position && state == table.ended
                   ? 0.0
                   : message_over<PatternNumbers::scaled>(weights, after,
                                                          [&](auto f) { for_each_edge(table, first, last, f); });
      });
    }
  }
}

// A stretch's positions, the last of which has these weights and is this.
struct StretchRows {
  const double* weights;
  int32_t weights_room;  // how far they are from those of the position before
  const int32_t* fixed;
  bool plain;  // see MessageStretch
};

// The messages within a stretch, from those where it ends. room [positions + 1, width]: these, those of the last
// position, of the one before it, and so on, each * size of the team apart.
template <int each, int most_edges, typename Team>
DEMASK_EVERYWHERE void fill_stretch(const PatternArguments& a, const PatternTable& table, int64_t b, int64_t stretch,
                                    const StretchRows& rows, double* room, Team& team) {
  const int positions = stretch_size(a, stretch), width = each * team.size();
  const double* border = messages_at(a, b, stretch * stretch_positions + positions);
  FewMessages<each, most_edges> few(table, rows.weights_room, team.rank(), team.size());
  for (int state = team.rank(); state < width; state += team.size()) {
    room[state] = state < table.states ? border[state] : 0;
  }
  few.begin_after(room);
  few.pass({positions, rows.weights, rows.fixed, room + width, rows.plain}, team);
}

// Takes the messages of fill_stretch away. Whether they keep to their range and agree with those where the stretch
// begins: a message that its matrix lost is positive here.
template <typename Team>
DEMASK_EVERYWHERE bool take_stretch(const PatternArguments& a, const PatternTable& table, int64_t b, int64_t stretch,
                                    const double* room, int width, Team& team) {
  const int positions = stretch_size(a, stretch);
  const int64_t begin = stretch * stretch_positions;
  bool holds = true;
  for (int i = team.rank(); i < (positions + 1) * width; i += team.size()) {
    const int at = i / width, state = i % width;
    if (state < table.states) {
      double* kept = messages_at(a, b, begin + positions - at) + state;
      holds = holds && in_message_range(room[i]);
      if (at == positions) {
        holds = holds && in_message_range(*kept) && (*kept > 0) == (room[i] > 0);
      } else if (at > 0) {
        *kept = room[i];
      }
    }
  }
  return holds;
}

// Where the positions of a stretch lead to from each state, [positions, transfer_width]. choose(t, state): the next
// one, below 0: none.
template <typename Choose, typename Team>
DEMASK_EVERYWHERE void choose_steps(const PatternArguments& a, const PatternTable& table, int64_t stretch,
                                    const Choose& choose, uint8_t* steps, Team& team) {
  const int items = stretch_size(a, stretch) * transfer_width;
  for (int i = team.rank(); i < items; i += team.size()) {
    if (const int32_t state = i % transfer_width; state < table.states) {
      const int32_t next = choose(stretch * stretch_positions + i / transfer_width, state);
      steps[i] = static_cast<uint8_t>(next < 0 ? 0 : next);
    }
  }
}

// Which state comes before each position of a stretch, for each in which it may begin. steps [positions,
// transfer_width]: where positions lead to.
template <typename Team>
DEMASK_EVERYWHERE void compose_steps(const PatternArguments& a, const PatternTable& table, int64_t b, int64_t stretch,
                                     const uint8_t* steps, Team& team) {
  const int positions = stretch_size(a, stretch);
  uint8_t* inner = a.inner + (b * a.length + stretch * stretch_positions) * transfer_width;
  for (int32_t begin = team.rank(); begin < table.states; begin += team.size()) {
    auto state = static_cast<uint8_t>(begin);
    for (int i = 0; i < positions; ++i) {
      inner[i * transfer_width + begin] = state;
      state = steps[i * transfer_width + state];
    }
    a.jumps[(b * stretches_of(a.length) + stretch) * transfer_width + begin] = state;
  }
}

// Where stretches begin, from the text's start on. room: so many bytes that all threads share, at least a stretch's.
template <typename Team>
DEMASK_EVERYWHERE void walk_stretches_of(const PatternArguments& a, int64_t b, uint8_t* room, int64_t room_bytes,
                                         Team& team) {
  const int64_t stretches = stretches_of(a.length), at_once = room_bytes / transfer_width;
  const uint8_t* jumps = a.jumps + b * stretches * transfer_width;
  uint8_t state = 0;
  for (int64_t begin = 0; begin < stretches; begin += at_once) {
    const int64_t count = stretches - begin < at_once ? stretches - begin : at_once;
    for (int64_t i = team.rank(); i < count * transfer_width; i += team.size()) {
      room[i] = jumps[begin * transfer_width + i];
    }
    team.sync();
    for (int64_t i = 0; i < count && team.rank() == 0; ++i) {
      a.starts[b * stretches + begin + i] = state;
      state = room[i * transfer_width + state];
    }
    team.sync();
  }
}

// The state before a position.
DEMASK_EVERYWHERE inline int32_t state_before(const PatternArguments& a, bool stretched, int64_t row) {
  if (!stretched) {
    return a.path[row];
  }
  const int64_t b = text_of(a, row), stretch = position_of(a, row) / stretch_positions;
  return a.inner[row * transfer_width + a.starts[b * stretches_of(a.length) + stretch]];
}

}  // namespace demask::kernels

// How a block sends the messages of a text by spans: two warps pass them from span to span, and others follow with
// those within spans and with where positions lead to.
#pragma once

#include "kernels/cuda_pattern_span_room.cuh"
#include "kernels/cuda_pattern_team.cuh"

namespace demask::kernels::cuda::launch {

// The messages between spans, a state a thread. What they wait for is how soon a span is done: so most of what a span
// needs is read while the one before it is computed, and the compiler is to keep what it would rather find out again.
template <int most>
class Passer {
 public:
  __device__ explicit Passer(const SpanDraw& draw)
      : draw_(draw),
        state_(kept(static_cast<int>(threadIdx.x))),
        offers_(kept(draw.room.offers)),
        products_(kept(draw.room.products)),
        between_(kept(draw.room.between)),
        product_bytes_((draw.table.ways.products + 1) * static_cast<int>(sizeof(double))),
        ways_(draw.table, shared_at<int32_t>(draw.room.of_state), state_) {}

  __device__ void pass() {
    const int count = draw_.spans.count();
    message_ = shared_at<double>(between_)[state_];
    read_weights();
    if (state_ < passers / warp_size) {
      shared_at<uint32_t>(offers_)[state_] = upper_half(1.0);
    }
    meet(0);
    uint32_t plain = 0;
#pragma unroll 1
    for (int number = 0; number < count; number += 2) {
      constexpr uint32_t both = 3;
      plain = number % warp_size == 0 ? draw_.plain()[number / warp_size] : plain >> 2;
      if ((plain & both) == both) {
        pass_plain(number, scale());
        pass_plain(number + 1, 1);
      } else {
        pass_any(number, scale(), (plain & 1) != 0);
        if (number + 1 < count) {
          pass_any(number + 1, 1, (plain & 2) != 0);
        }
      }
    }
  }

 private:
  using Numbers = typename KeptWays<most>::Numbers;

  __device__ static int kept(int x) {
    asm volatile("" : "+r"(x));
    return x;
  }
  // Every second span is scaled, by the largest message of the one before the last, for what it is takes time to find.
  __device__ double scale() const {
    const uint2 offers = *shared_at<uint2>(offers_);
    return inverse_power(max(offers.x, offers.y));
  }
  __device__ void read_weights() {
    ways_.read_weights(shared_at<double>(products_), weights_);
  }

  __device__ void meet(int number) const {
    wait_for_threads(passers_barrier, passers);
    draw_.ready().tell(number, state_ == 0);
  }

  __device__ __forceinline__ void pass_plain(int number, double scale) {
    Numbers after, weights;
    ways_.read_messages(shared_at<double>(between_), after);
    for (size_t w = 0; w < KeptWays<most>::count; ++w) {
      weights[w] = weights_[w];
    }
    products_ += product_bytes_;
    read_weights();
    const double before = message_;
    message_ = KeptWays<most>::message(weights, after) * scale;
    finish(number, before);
  }

  __device__ void finish(int number, double before) {
    between_ += span_width * static_cast<int>(sizeof(double));
    shared_at<double>(between_)[state_] = message_;
    if (number % 2 != 0) {
      const uint32_t largest = warp_max_of(upper_half(before));
      if (state_ % warp_size == 0) {
        shared_at<uint32_t>(offers_)[state_ / warp_size] = largest;
      }
    }
    meet(number + 1);
  }

  __device__ void pass_any(int number, double scale, bool plain) {
    if (plain) {
      pass_plain(number, scale);
      return;
    }
    const double before = message_;
    message_ = message_by_positions(number) * scale;
    products_ += product_bytes_;
    read_weights();
    finish(number, before);
  }

  __device__ double message_by_positions(int number) const {
    double* buffers = shared_at<double>(draw_.room.within) + followers * 2 * span_width;
    const double* after = shared_at<double>(between_);
    const int first = draw_.spans.first(number);
    double message = 0;
#pragma unroll 1
    for (int t = draw_.spans.end(number) - 1; t >= first; --t) {
      message = state_ < draw_.table.states
                    ? any_step(draw_.table, state_, draw_.weights(t), after, draw_.fixed()[t], 0).message
                    : 0;
      if (t > first) {
        double* now = buffers + t % 2 * span_width;
        now[state_] = message;
        wait_for_threads(passers_barrier, passers);
        after = now;
      }
    }
    return message;
  }

  const SpanDraw& draw_;
  int state_;
  int offers_, products_, between_;  // where they are: of the next span
  int product_bytes_;
  double message_ = 0;
  KeptWays<most> ways_;
  Numbers weights_;
};

inline __device__ void pass_messages(const SpanDraw& draw) {
  const int most = draw.table.ways.most;
  if (most <= 3) {
    Passer<3>(draw).pass();
  } else if (most <= 6) {
    Passer<6>(draw).pass();
  } else if (most <= 9) {
    Passer<9>(draw).pass();
  } else {
    Passer<most_ways>(draw).pass();
  }
}

// The messages of spans once those after them are known, and where each position and span leads to. A warp's.
template <int most>
class Follower {
 public:
  __device__ explicit Follower(const SpanDraw& draw)
      : draw_(draw),
        lane_(static_cast<int>(threadIdx.x) % warp_size),
        within_(shared_at<double>(draw.room.within) +
                (static_cast<int>(threadIdx.x) - passers) / warp_size * 2 * span_width),
        edges_{{draw.table, lane_}, {draw.table, lane_ + warp_size}} {}

  // Whether messages between spans keep to their range.
  __device__ bool follow() {
    const SpanWalk walk = draw_.walk();
    bool holds = true;
#pragma unroll 1
    for (int number = (static_cast<int>(threadIdx.x) - passers) / warp_size; number < draw_.spans.count();
         number += followers) {
      draw_.ready().wait(number);
      const double* after = draw_.between(number);
      for (int k = 0; k < each; ++k) {
        const double message = after[lane_ + k * warp_size];
        holds = holds & ((upper_half(message) == 0) | is_in_range(message, least_span_message));
        store(draw_.spans.end(number), k, message);
      }
      const bool plain = (draw_.plain()[number / warp_size] >> number % warp_size & 1) != 0;
      if (most > 0 && plain) {
        follow_plain(number, after, walk);
      } else {
        follow_any(number, after, walk);
      }
      for (int k = 0; k < each; ++k) {
        walk.compose(number, lane_ + k * warp_size);
      }
    }
    return holds;
  }

 private:
  static constexpr int each = span_width / warp_size;

  __device__ void store(int t, int k, double message) const {
    if (lane_ + k * warp_size < draw_.a.states_room) {
      draw_.messages(t)[lane_ + k * warp_size] = message;
    }
  }

  __device__ void follow_plain(int number, const double* after, const SpanWalk& walk) const {
    const int first = draw_.spans.first(number), last = draw_.spans.end(number) - 1;
    const double *weights = draw_.weights(last), *uniform = draw_.uniforms() + last;
    uint8_t* steps = walk.steps(last) + lane_;
    double *now = within_, *other = within_ + span_width, *out = draw_.messages(last) + lane_;
    const int room = draw_.a.states_room;
    const bool has_second = room > warp_size;
#pragma unroll 1
    for (int t = last; t >= first; --t) {
      const PatternStep one = plain_step(edges_[0], weights, after, *uniform),
                        second = plain_step(edges_[1], weights, after, *uniform);
      now[lane_] = one.message;
      now[lane_ + warp_size] = second.message;
      steps[0] = static_cast<uint8_t>(one.next);
      steps[warp_size] = static_cast<uint8_t>(second.next);
      if (t > first) {
        *out = one.message;
      }
      if (t > first && has_second) {
        out[warp_size] = second.message;
      }
      __syncwarp();
      double* written = now;
      now = other;
      after = other = written;
      weights -= draw_.a.weights_room;
      --uniform;
      steps -= SpanWalk::width;
      out -= room;
    }
  }

  __device__ void follow_any(int number, const double* after, const SpanWalk& walk) const {
    const int first = draw_.spans.first(number);
    double* now = within_;
#pragma unroll 1
    for (int t = draw_.spans.end(number) - 1; t >= first; --t) {
#pragma unroll 1
      for (int k = 0; k < each; ++k) {
        const int state = lane_ + k * warp_size;
        const PatternStep step = state < draw_.table.states ? any_step(draw_.table, state, draw_.weights(t), after,
                                                                       draw_.fixed()[t], draw_.uniforms()[t])
                                                            : PatternStep{};
        now[state] = step.message;
        walk.steps(t)[state] = static_cast<uint8_t>(step.next);
        if (t > first) {
          store(t, k, step.message);
        }
      }
      __syncwarp();
      after = now;
      now = now == within_ ? within_ + span_width : within_;
    }
  }

  const SpanDraw& draw_;
  int lane_;
  double* within_;
  AllEdges<(most > 0 ? most : 1)> edges_[each];
};

inline __device__ bool follow_messages(const SpanDraw& draw) {
  int most_edges = 0;
  DEMASK_ROLLED for (int state = static_cast<int>(threadIdx.x) % warp_size; state < draw.table.states;
                     state += warp_size) {
    most_edges = max(most_edges, draw.table.first_edge[state + 1] - draw.table.first_edge[state]);
  }
  most_edges = static_cast<int>(warp_max_of(static_cast<uint32_t>(most_edges)));
  return most_edges <= 2   ? Follower<2>(draw).follow()
         : most_edges <= 4 ? Follower<4>(draw).follow()
                           : Follower<0>(draw).follow();
}

}  // namespace demask::kernels::cuda::launch

// A pattern's automaton as flat tables, and what a draw of texts that match it reads and writes: for nvcc and for the
// host's compiler.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#define DEMASK_EVERYWHERE __host__ __device__
#else
#define DEMASK_EVERYWHERE
#endif

namespace demask::kernels {

// What messages are: numbers scaled so that the largest is about 1, or logarithms whose sums or largest count.
enum class PatternNumbers : int32_t { undecided, scaled, logarithms, likeliest };

// Where logits come from: as they are drawn from, or without top-k and nucleus and finite for each token that may be
// drawn.
enum class PatternSource : int32_t { filtered, unfiltered };

// What a position is to the pattern, where that is not the class of its given token: none, where that has no class.
inline constexpr int32_t no_pattern_class = -1, unshown_position = -2, free_position = -3;

// The first numbers of a packed table; what follows them, in this order, stands in PatternTable.
enum PatternHeader : int32_t {
  header_states,
  header_classes,
  header_ended,
  header_edges,
  header_span,
  header_ways,
  header_products,
  header_size
};

// The ways through `span` positions next to each other: from each state `most` of them at most, each of which has a
// product of the weights of classes, one a position, and leads to a state.
struct PatternWays {
  static constexpr int longest_span = 8;
  int32_t span = 0, most = 0, products = 0;  // 0: none are known
  const uint8_t* classes = nullptr;          // [products, longest_span]
  const int32_t* of_state = nullptr;         // [states, most, 2]: product and next state; past a state's own, below 0
};

// One automaton. Tokens of one class lead from every state to the same one.
struct PatternTable {
  int32_t states = 0, classes = 0;
  int32_t ended = -1;                   // the state after which nothing given may come, or none
  const int32_t* first_edge = nullptr;  // [states + 1]
  const int32_t* accepts = nullptr;     // [states]
  const int32_t* class_of = nullptr;    // [outputs]
  const int32_t* first_id = nullptr;    // [classes + 1]
  const int32_t* ids = nullptr;         // class by class, ascending
  const int32_t* edges = nullptr;       // [edges, 2]: class and next state
  PatternWays ways;
};

DEMASK_EVERYWHERE inline PatternTable pattern_table(const int32_t* packed, int64_t outputs) {
  PatternTable table;
  table.states = packed[header_states];
  table.classes = packed[header_classes];
  table.ended = packed[header_ended];
  table.first_edge = packed + header_size;
  table.accepts = table.first_edge + table.states + 1;
  table.class_of = table.accepts + table.states;
  table.first_id = table.class_of + outputs;
  table.edges = table.first_id + table.classes + 1;
  PatternWays& ways = table.ways;
  ways.span = packed[header_span];
  ways.most = packed[header_ways];
  ways.products = packed[header_products];
  const int32_t* classes = table.edges + 2 * static_cast<int64_t>(packed[header_edges]);
  ways.classes = reinterpret_cast<const uint8_t*>(classes);
  ways.of_state = classes + static_cast<int64_t>(ways.products) * PatternWays::longest_span / 4;
  table.ids = ways.of_state + 2 * static_cast<int64_t>(table.states) * ways.most;
  return table;
}

// A batch [B, T] of a vocabulary of V outputs. States and classes have room for S and W of them; W is above every
// table's classes, for the weight after the last is none.
struct PatternArguments {
  int64_t batch = 0, length = 0, outputs = 0;
  int32_t states_room = 0, weights_room = 0;
  int32_t spans_room = 0, products_room = 0;  // of a text: spans, and products of them together; 0: no ways are known
  const int32_t* tables = nullptr;            // packed
  const int64_t* table_at = nullptr;          // [B], where in them; below 0: no pattern
  const int32_t* fixed = nullptr;  // [B, T]: free_position, unshown_position, or the class of the given token

  const int64_t* tokens = nullptr;  // [B, T]
  const bool* masked = nullptr;     // [B, T]
  const bool* drawn = nullptr;      // [B, T], of the masked: those that get a token now
  const float* uniforms = nullptr;  // [B, T]
  const void* logits = nullptr;     // [B * T, V], rows row_stride apart
  int64_t row_stride = 0;
  const float* filtered = nullptr;      // [B * T, V], or none: then they follow from logits
  const float* forbidden = nullptr;     // [V], 0 or -infinity
  float temperature = 1;                // 0: the likeliest
  const float* temperatures = nullptr;  // [B * T / rows_per_temperature] in its place, or none
  int64_t rows_per_temperature = 1;

  double* weights = nullptr;          // [B, T, W]
  double* largest = nullptr;          // [B, T], logit of the likeliest token that has a class
  float* highest = nullptr;           // [B, T], of all tokens
  float* total = nullptr;             // [B, T], sum of exp(logit - highest)
  bool* holds = nullptr;              // [B, T]: weights are within the range that scaled messages hold
  double* sums = nullptr;             // [B, T, V], or none: in the order of a table's ids, the weights of those of the
                                      // same class up to each
  double* messages = nullptr;         // [B, T + 1, S]
  int32_t* next = nullptr;            // [B, T, S]: where the position leads to from each state
  int32_t* path = nullptr;            // [B, T]: the state before each position
  PatternNumbers* numbers = nullptr;  // [B]
  PatternSource* source = nullptr;    // [B]

  int64_t* chosen = nullptr;       // [B, T]
  float* probabilities = nullptr;  // [B, T]
  bool* broken = nullptr;          // scalar
};

// Which text a row is of: rows are few enough for a division that is soon done.
DEMASK_EVERYWHERE inline int64_t text_of(const PatternArguments& a, int64_t row) {
  return static_cast<uint32_t>(row) / static_cast<uint32_t>(a.length);
}

// Outputs up to which sums are kept.
inline constexpr int most_summed = 128;

// Ways of a state through a span, products a position of a span, and states and classes of tables that have ways, at
// most.
inline constexpr int most_ways = 12, most_products = 16, most_span_states = 64, most_span_classes = 128;

// Products of two numbers that are not smaller are above the smallest normal double, about 1e-308.
inline constexpr double least_log_weight = -230, least_weight = 1e-100, least_message = 1e-200;  // exp(-230): 1e-100

template <PatternNumbers numbers>
DEMASK_EVERYWHERE double pattern_none() {
  return numbers == PatternNumbers::scaled ? 0.0 : -HUGE_VAL;
}
template <PatternNumbers numbers>
DEMASK_EVERYWHERE double pattern_one() {
  return numbers == PatternNumbers::scaled ? 1.0 : 0.0;
}

// A product that is rounded by itself wherever it is computed: who finds a choice again is to find the same one.
DEMASK_EVERYWHERE inline double rounded_product(double x, double y) {
#ifdef __CUDA_ARCH__
  return __dmul_rn(x, y);
#else
  return x * y;
#endif
}

// What the edges that for_each visits come to.
template <PatternNumbers numbers, typename ForEach>
DEMASK_EVERYWHERE double message_over(const double* weights, const double* after, ForEach for_each) {
  if constexpr (numbers == PatternNumbers::scaled) {
    double sum = 0;
    for_each([&](int32_t token_class, int32_t next) { sum += weights[token_class] * after[next]; });
    return sum;
  } else {
    double largest = -HUGE_VAL;
    for_each([&](int32_t token_class, int32_t next) { largest = fmax(largest, weights[token_class] + after[next]); });
    if (numbers == PatternNumbers::likeliest || !(largest > -HUGE_VAL)) {
      return largest;
    }
    double sum = 0;
    for_each([&](int32_t token_class, int32_t next) { sum += exp(weights[token_class] + after[next] - largest); });
    return largest + log(sum);
  }
}

// Visits a state's edges: f(class, next).
template <typename F>
DEMASK_EVERYWHERE void for_each_edge(const PatternTable& table, int32_t first, int32_t last, F f) {
  for (int32_t edge = first; edge < last; ++edge) {
    f(table.edges[2 * edge], table.edges[2 * edge + 1]);
  }
}

// The edge of a state that a uniform number chooses, and how far into the class's share of the sum it falls.
struct PatternChoice {
  int32_t token_class = no_pattern_class;
  int32_t next = -1;
  double share = 0;  // 0 .. 1
};

// By inverse CDF in the order of edges.
template <PatternNumbers numbers>
DEMASK_EVERYWHERE PatternChoice choose_by_chance(const PatternTable& table, int32_t state, const double* weights,
                                                 const double* after, float uniform) {
  const int32_t first = table.first_edge[state], last = table.first_edge[state + 1];
  double total = 0;
  if (numbers == PatternNumbers::scaled) {
    for_each_edge(table, first, last,
                  [&](int32_t c, int32_t next) { total += rounded_product(weights[c], after[next]); });
  } else {
    total = message_over<numbers>(weights, after, [&](auto f) { for_each_edge(table, first, last, f); });
  }
  const double threshold =
      rounded_product(static_cast<double>(uniform), numbers == PatternNumbers::scaled ? total : 1.0);
  PatternChoice choice;
  double below = 0;
  for (int32_t edge = first; edge < last && below <= threshold; ++edge) {
    const int32_t token_class = table.edges[2 * edge], next = table.edges[2 * edge + 1];
    const double mass = numbers == PatternNumbers::scaled ? rounded_product(weights[token_class], after[next])
                                                          : exp(weights[token_class] + after[next] - total);
    if (mass > 0) {  // should rounding leave the sum below the threshold, the last of them
      choice = {token_class, next, fmin((threshold - below) / mass, 1.0)};
      below += mass;
    }
  }
  return choice;
}

// The sign, the exponent, and the first 20 binary digits: of numbers that are not negative in the order of these.
DEMASK_EVERYWHERE inline uint32_t upper_half(double x) {
  uint64_t bits = 0;
  memcpy(&bits, &x, sizeof bits);
  return static_cast<uint32_t>(bits >> 32);
}

// 2 to the power of minus the exponent of the number with this upper half; 1 where that is no positive number.
DEMASK_EVERYWHERE inline double inverse_power(uint32_t upper) {
  const uint32_t exponent = upper >> 20;  // biased by 1023
  const uint32_t inverse = exponent > 0 && exponent < 2046 ? 2046 - exponent : 1023;
  const uint64_t bits = static_cast<uint64_t>(inverse) << 52;
  double result = 0;
  memcpy(&result, &bits, sizeof result);
  return result;
}

// Whether a scaled message is 0, or such that its products stay in range. By its bits, which is sooner known.
DEMASK_EVERYWHERE inline bool in_message_range(double message) {
  const double lowest = least_message, infinity = HUGE_VAL;
  uint64_t bits = 0, least = 0, infinite = 0;
  memcpy(&bits, &message, sizeof bits);
  memcpy(&least, &lowest, sizeof least);
  memcpy(&infinite, &infinity, sizeof infinite);
  return (bits == 0) | (bits - least < infinite - least);
}

}  // namespace demask::kernels

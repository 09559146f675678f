// The kernels of the joint draw beside the same parts on the host, without LibTorch, at small and odd sizes: a program
// that compute-sanitizer goes through in seconds. CONTRIBUTING.md says how it is built. Exits with 0 where all tokens
// agree.
#include <cuda_runtime.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "kernels/cuda_launch.h"
#include "sampling/transfer_planning.h"
#include "tests/unit/sampling/pattern_on_host.h"

namespace {

using namespace demask::kernels;

void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) {
    std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
    std::exit(2);
  }
}

// Memory of both sides, given back when the program ends.
template <typename T>
struct Both {
  std::vector<T> host;
  T* device = nullptr;

  explicit Both(std::vector<T> values) : host(std::move(values)) {
    check(cudaMalloc(&device, host.size() * sizeof(T)), "cudaMalloc");
    check(cudaMemcpy(device, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
  }
  std::vector<T> of_device() const {
    std::vector<T> values(host.size());
    check(cudaMemcpy(values.data(), device, values.size() * sizeof(T), cudaMemcpyDeviceToHost), "cudaMemcpy");
    return values;
  }
};

// A table whose state i goes by class c, of one token, to next(i, c); below 0: it does not.
template <typename Next>
std::vector<int32_t> table_of(int32_t states, int32_t classes, int32_t outputs, int32_t ended, bool planned,
                              const Next& next) {
  std::vector<int32_t> first_edge = {0}, accepts, edges, class_of, first_id, ids;
  for (int32_t state = 0; state < states; ++state) {
    for (int32_t c = 0; c < classes; ++c) {
      if (next(state, c) >= 0) {
        edges.insert(edges.end(), {c, next(state, c)});
      }
    }
    first_edge.push_back(static_cast<int32_t>(edges.size() / 2));
    accepts.push_back(1);
  }
  for (int32_t id = 0; id < outputs; ++id) {
    class_of.push_back(id < classes ? id : -1);
  }
  for (int32_t c = 0; c <= classes; ++c) {
    first_id.push_back(c);
    ids.push_back(c);
  }
  ids.pop_back();
  std::vector<int32_t> packed = {states, classes, ended, static_cast<int32_t>(edges.size() / 2), 0};
  for (const auto* part : {&first_edge, &accepts, &class_of, &first_id, &edges, &ids}) {
    packed.insert(packed.end(), part->begin(), part->end());
  }
  const std::vector<int32_t> plan = demask::transfer_plan({first_edge, edges, classes, ended});
  if (plan.empty() == planned) {
    std::fprintf(stderr, "a table of %d states has a plan where it should not, or none where it should\n",
                 static_cast<int>(states));
    std::exit(2);
  }
  packed[header_plan] = plan.empty() ? 0 : static_cast<int32_t>(packed.size());
  packed.insert(packed.end(), plan.begin(), plan.end());
  return packed;
}

// Whether tokens of both sides agree, of texts of so many tokens, by tables of few states or one of many besides.
bool agree(int64_t length, double spread, float temperature, bool has_many) {
  constexpr int32_t outputs = 11;
  constexpr int64_t batch = 6;
  const auto counter = [](int32_t state, int32_t c) {
    return c == 0 && state < 9 ? state + 1 : c == 1 && state >= 3 ? 0 : -1;
  };
  const auto ending = [](int32_t state, int32_t c) { return state == 3 || c == 9 ? 3 : (state + c % 2) % 3; };
  const auto scattering = [](int32_t state, int32_t c) { return (state * 5 + c * 17 + 1) % 61; };
  const auto long_way = [](int32_t state, int32_t c) { return (state + 1 + c) % 90; };
  std::vector<std::vector<int32_t>> tables = {table_of(10, 2, outputs, -1, true, counter),
                                              table_of(4, 10, outputs, 3, true, ending),
                                              table_of(61, 6, outputs, -1, false, scattering)};
  if (has_many) {
    tables.push_back(table_of(90, 4, outputs, -1, false, long_way));
  }
  std::vector<int32_t> packed;
  std::vector<int64_t> begins;
  for (const auto& table : tables) {
    begins.push_back(static_cast<int64_t>(packed.size()));
    packed.insert(packed.end(), table.begin(), table.end());
  }
  const size_t rows = static_cast<size_t>(batch * length), states = has_many ? 96 : 64, weights = 12,
               stretches = static_cast<size_t>(stretches_of(length));
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> uniform(1e-6F, 1 - 1e-6F);
  std::vector<float> logits(rows * outputs), uniforms(rows), forbidden(outputs, 0);
  forbidden.back() = -INFINITY;
  std::vector<int64_t> tokens(rows, outputs - 1);
  std::vector<int32_t> fixed(rows, free_position);
  std::vector<uint8_t> masked(rows, 1), drawn(rows);
  for (float& x : logits) {
    x = normal(random) * static_cast<float>(spread);
  }
  for (size_t row = 0; row < rows; ++row) {
    uniforms[row] = uniform(random);
    const size_t text = row / static_cast<size_t>(length), t = row % static_cast<size_t>(length);
    if (text == 1 && (t < 3 || t == 20)) {  // the second text begins with what is none of it
      fixed[row] = t < 3 ? unshown_position : 2;
      tokens[row] = t < 3 ? 0 : 2;
      masked[row] = 0;
    }
    drawn[row] = static_cast<uint8_t>(masked[row] != 0 && uniform(random) < 0.8F);
  }
  const Both<int32_t> all_tables(packed), all_fixed(fixed), next(std::vector<int32_t>(rows * states)),
      path{std::vector<int32_t>(rows)}, numbers{std::vector<int32_t>(batch)}, source{std::vector<int32_t>(batch)};
  const Both<int64_t> table_at({begins[0], begins[1], begins[2], -1, begins[0], begins.back()}), all_tokens(tokens),
      chosen{std::vector<int64_t>(rows)};
  const Both<uint8_t> all_masked(masked), all_drawn(drawn), holds{std::vector<uint8_t>(rows)},
      inner(std::vector<uint8_t>(rows * transfer_width)),
      jumps(std::vector<uint8_t>(batch * stretches * transfer_width)), starts(std::vector<uint8_t>(batch * stretches)),
      broken{std::vector<uint8_t>(1)};
  const Both<float> all_logits(logits), all_uniforms(uniforms), all_forbidden(forbidden),
      highest{std::vector<float>(rows)}, total{std::vector<float>(rows)}, probabilities{std::vector<float>(rows)};
  const Both<double> all_weights(std::vector<double>(rows * weights)), largest{std::vector<double>(rows)},
      messages(std::vector<double>((rows + batch) * states)),
      transfer(std::vector<double>(batch * stretches * most_transfer_row * transfer_width));
  const auto arguments = [&](auto of) {
    PatternArguments a;
    a.batch = batch;
    a.length = length;
    a.outputs = outputs;
    a.states_room = static_cast<int32_t>(states);
    a.weights_room = static_cast<int32_t>(weights);
    a.tables = of(all_tables);
    a.table_at = of(table_at);
    a.fixed = of(all_fixed);
    a.tokens = of(all_tokens);
    a.masked = reinterpret_cast<bool*>(of(all_masked));
    a.drawn = reinterpret_cast<bool*>(of(all_drawn));
    a.uniforms = of(all_uniforms);
    a.logits = of(all_logits);
    a.row_stride = outputs;
    a.forbidden = of(all_forbidden);
    a.temperature = temperature;
    a.weights = of(all_weights);
    a.largest = of(largest);
    a.highest = of(highest);
    a.total = of(total);
    a.holds = reinterpret_cast<bool*>(of(holds));
    a.messages = of(messages);
    a.transfer = of(transfer);
    a.next = of(next);
    a.path = of(path);
    a.inner = of(inner);
    a.jumps = of(jumps);
    a.starts = of(starts);
    a.numbers = reinterpret_cast<PatternNumbers*>(of(numbers));
    a.source = reinterpret_cast<PatternSource*>(of(source));
    a.chosen = of(chosen);
    a.probabilities = of(probabilities);
    a.broken = reinterpret_cast<bool*>(of(broken));
    return a;
  };
  const PatternArguments there = arguments([](const auto& both) { return both.device; });
  const PatternArguments here = arguments([](const auto& both) {
    using Number = typename std::decay_t<decltype(both)>;
    return const_cast<Number&>(both).host.data();
  });
  cuda::launch::draw_matching(cuda::launch::Precision::float32, there, nullptr);
  check(cudaDeviceSynchronize(), "kernels");
  demask::testing::draw_matching_on_host(here, {});
  const bool alike = chosen.of_device() == chosen.host && numbers.of_device() == numbers.host;
  std::printf("%d tokens, temperature %.2f%s: %s\n", static_cast<int>(length), static_cast<double>(temperature),
              has_many ? ", with a table of many states" : "", alike ? "alike" : "DIFFERENT");
  return alike;
}

}  // namespace

int main() {
  bool fine = true;
  fine = agree(7, 2, 0.9F, false) && fine;
  fine = agree(77, 2, 0.9F, false) && fine;
  fine = agree(128, 2, 0.9F, true) && fine;
  fine = agree(45, 3, 0.01F, false) && fine;  // by logarithms
  fine = agree(33, 2, 0, false) && fine;
  return fine ? 0 : 1;
}

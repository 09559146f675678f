// What follows the logits of large vocabularies beside float64 on the host: a token drawn of those that the filters
// keep, its probability, and the counts; a row alone beside the same row among others. Exits with 0 where they agree.
#include <type_traits>

#include "kernels/cuda_draw_next.cuh"
#include "kernels/noise_words.h"
#include "tests/sanitizer/alone.h"

namespace {

using namespace demask::alone;
using namespace demask::kernels;
using namespace demask::kernels::cuda::launch;

struct Case {
  int64_t rows, outputs, padding, top_k;
  float temperature;
  bool crowded;  // the likeliest ids are neighbours
};

constexpr int64_t position = 1, step = 5, length = 4;

template <typename T>
struct Texts {
  Case of;
  std::vector<T> logits;         // [rows, outputs + padding]
  std::vector<float> forbidden;  // [outputs]
  std::vector<int64_t> seeds, indices;
};

struct Drawn {
  std::vector<int64_t> tokens;
  std::vector<float> scores;
  bool fine;  // counted, and nothing reported
};

template <typename T>
Drawn run(const Texts<T>& texts, bool& taken) {
  const int64_t rows = texts.of.rows;
  Room<T> logits(texts.logits);
  Room<float> forbidden(texts.forbidden), scores(std::vector<float>(static_cast<size_t>(length * rows)));
  Room<int64_t> seeds(texts.seeds), indices(texts.indices), counts({position, step});
  Room<int64_t> tokens(std::vector<int64_t>(static_cast<size_t>(rows * length)));
  Room<uint8_t> broken(std::vector<uint8_t>(1));
  NextDrawArguments a;
  a.draw.logits = {logits.data(), texts.of.outputs + texts.of.padding, rows, texts.of.outputs};
  a.draw.forbidden = forbidden.data();
  a.draw.broken = reinterpret_cast<bool*>(broken.data());
  a.draw.temperature = texts.of.temperature;
  a.draw.top_k = texts.of.top_k;
  a.seeds = seeds.data();
  a.sample_indices = indices.data();
  a.purpose = 3;
  a.position = counts.data();
  a.steps = counts.data() + 1;
  a.text = tokens.data();
  a.text_stride = length;
  a.scores = scores.data();
  taken = draw_next_wide(std::is_same_v<T, float> ? Precision::float32 : Precision::bfloat16, a, nullptr) && taken;
  const std::vector<int64_t> text = tokens.values(), counted = counts.values();
  const std::vector<float> all = scores.values();
  Drawn drawn{{}, part(all, position + 1, 1, rows), broken.values()[0] == 0};
  for (int64_t row = 0; row < rows; ++row) {
    drawn.tokens.push_back(text[static_cast<size_t>(row * length + position + 1)]);
  }
  drawn.fine = drawn.fine && counted == std::vector<int64_t>{position + 1, step + 1};
  return drawn;
}

// How far the row's token is from the one that float64 draws, as a share of all weights; and the score from its own.
template <typename T>
double off_by(const Texts<T>& texts, int64_t row, int64_t token, float score) {
  const Case& of = texts.of;
  std::vector<double> logits, tempered;
  for (int64_t id = 0; id < of.outputs; ++id) {
    logits.push_back(exact(texts.logits[static_cast<size_t>(row * (of.outputs + of.padding) + id)]));
    tempered.push_back((logits.back() + static_cast<double>(texts.forbidden[static_cast<size_t>(id)])) /
                       (of.temperature == 0 ? 1 : static_cast<double>(of.temperature)));
  }
  std::vector<double> sorted = tempered;
  std::sort(sorted.rbegin(), sorted.rend());
  const double least = of.temperature == 0 ? sorted.front()
                       : of.top_k > 0      ? sorted[static_cast<size_t>(of.top_k - 1)]
                                           : sorted.back();
  const auto weight = [&](double x) { return x >= least ? std::exp(x - sorted.front()) : 0; };
  double total = 0, before = 0, through = 0, all = 0;
  for (int64_t id = 0; id < of.outputs; ++id) {
    const double own = weight(tempered[static_cast<size_t>(id)]);
    before += id < token ? own : 0;
    through += id <= token ? own : 0;
    total += own;
    all += std::exp(logits[static_cast<size_t>(id)]);
  }
  const auto at = static_cast<size_t>(row);
  const double uniform = of.temperature == 0
                             ? 0
                             : static_cast<double>(demask::philox::to_uniform(noise_words(
                                   static_cast<uint64_t>(texts.seeds[at]), texts.indices[at], step, 0, 3)[0]));
  const double off = std::fmax(before / total - uniform, uniform - through / total);
  const double judged = std::fabs(logits[static_cast<size_t>(token)] - std::log(all) - static_cast<double>(score));
  return through > before ? std::fmax(off, judged) : 1;
}

template <typename T>
bool agrees(const Case& of, const char* name) {
  Texts<T> texts{of, {}, std::vector<float>(static_cast<size_t>(of.outputs)), {}, {}};
  const int64_t apart = of.outputs + of.padding;
  for (const float x : uniform_numbers(of.rows * apart, 1, 9)) {
    const auto id = static_cast<int64_t>(texts.logits.size()) % apart;
    texts.logits.push_back(static_cast<T>(of.crowded && id >= 600 ? x - 20 : x));
  }
  for (int64_t id = 0; id < of.outputs; id += 7) {
    texts.forbidden[static_cast<size_t>(id)] = -INFINITY;
  }
  for (int64_t row = 0; row < of.rows; ++row) {
    texts.seeds.push_back(row * 1000003);
    texts.indices.push_back(row + 17);
  }
  bool taken = true;
  const Drawn drawn = run(texts, taken);
  double off = 0;
  for (int64_t row = 0; row < of.rows; ++row) {
    const auto at = static_cast<size_t>(row);
    off = std::fmax(off, off_by(texts, row, drawn.tokens[at], drawn.scores[at]));
  }
  const int64_t row = of.rows - 1;
  const Texts<T> alone{{1, of.outputs, of.padding, of.top_k, of.temperature, of.crowded},
                       part(texts.logits, row, 1, apart),
                       texts.forbidden,
                       {texts.seeds.back()},
                       {texts.indices.back()}};
  const Drawn again = run(alone, taken);
  const bool alike = again.tokens[0] == drawn.tokens.back() && again.scores[0] == drawn.scores.back();
  return report(std::string(name) + ", " + std::to_string(of.rows) + " rows of " + std::to_string(of.outputs) + " + " +
                    std::to_string(of.padding) + ", top " + std::to_string(of.top_k) + ", temperature " +
                    std::to_string(of.temperature) + (of.crowded ? ", crowded" : ""),
                off, 2e-5, taken, drawn.fine && again.fine, alike);
}

}  // namespace

int main() {
  bool fine = true;
  // A row that starts no chunk, and ids so close together that their keys are counted bit by bit.
  for (const Case& of : {Case{1, 4096, 0, 0, 1, false}, Case{3, 5003, 4, 200, 0.7F, false},
                         Case{2, 5000, 3, 0, 0, false}, Case{1, 9001, 7, 500, 1.3F, true}}) {
    fine = agrees<__nv_bfloat16>(of, "bfloat16") && fine;
    fine = agrees<float>(of, "float32") && fine;
  }
  return fine ? 0 : 1;
}

// How much speaks against each token of small texts, beside float64 on the host: words across a block's end, positions
// that wait, and without what may be left out. Exits with 0 where they agree.
#include "tests/sanitizer/alone.h"

namespace {

using namespace demask::alone;
using namespace demask::kernels::cuda::launch;

struct Case {
  int64_t batch, length, outputs;
  bool whole;  // with all that may be left out
  float word_share, noise_share;
};

constexpr int64_t margin = 64;   // behind what is to be written
constexpr int64_t longest = 12;  // tokens of a word
constexpr float bonus = 1.2F, temperature = 0.8F, last = 1e9F;

// 1 with this probability.
std::vector<uint8_t> flags(int64_t count, uint64_t seed, double share) {
  std::vector<uint8_t> set;
  for (const float x : uniform_numbers(count, seed, 1)) {
    set.push_back(static_cast<double>(x) < 2 * share - 1 ? 1 : 0);
  }
  return set;
}

// Between two numbers.
std::vector<float> between(int64_t count, uint64_t seed, float low, float high) {
  std::vector<float> values = uniform_numbers(count, seed, 1);
  for (float& x : values) {
    x = low + (high - low) * (x + 1) / 2;
  }
  return values;
}

struct Texts {
  explicit Texts(const Case& one)
      : of(one),
        log_probability(between(one.batch * one.length, 1, -4, 0)),
        noise(between(one.batch * one.length, 2, 0.001F, 0.999F)),
        numbers(between(one.batch * 2, 3, 0.5F, 1.5F)),
        vocabulary_noise(between(one.batch, 4, 0, 3)),
        weight(between(one.batch * one.outputs, 5, 0, 2)),
        drawn(flags(one.batch * one.length, 6, 0.5)),
        eligible(flags(one.batch * one.length, 7, 0.95)),
        waiting(flags(one.batch * one.length, 8, 0.05)),
        begins(flags(one.outputs, 9, 0.8)),
        ends(flags(one.outputs, 10, 0.9)) {
    for (const float x : between(one.batch * one.length, 11, 0, static_cast<float>(one.outputs))) {
      tokens.push_back(std::min(static_cast<int64_t>(x), one.outputs - 1));
    }
  }

  Case of;
  std::vector<float> log_probability, noise, numbers, vocabulary_noise, weight;
  std::vector<uint8_t> drawn, eligible, waiting, begins, ends;
  std::vector<int64_t> tokens;
};

bool* as_bool(Room<uint8_t>& flags) {
  return reinterpret_cast<bool*>(flags.data());
}

std::vector<float> run(const Texts& texts) {
  const Case& of = texts.of;
  Room<float> log_probability(texts.log_probability), noise(texts.noise), numbers(texts.numbers);
  Room<float> vocabulary_noise(texts.vocabulary_noise), weight(texts.weight);
  Room<uint8_t> drawn(texts.drawn), eligible(texts.eligible), waiting(texts.waiting);
  Room<uint8_t> begins(texts.begins), ends(texts.ends);
  Room<int64_t> tokens(texts.tokens);
  Room<float> found(std::vector<float>(static_cast<size_t>(of.batch * of.length + margin), std::nanf("")));
  DoubtArguments a;
  a.log_probability = log_probability.data();
  a.tokens = tokens.data();
  a.drawn = as_bool(drawn);
  a.eligible = as_bool(eligible);
  a.noise = noise.data();
  a.noise_scale = numbers.data();
  a.noise_left = numbers.data() + 1;
  a.noise_scale_stride = a.noise_left_stride = 2;
  a.begins_within = as_bool(begins);
  a.ends_within = as_bool(ends);
  if (of.whole) {
    a.waiting = as_bool(waiting);
    a.vocabulary_noise = vocabulary_noise.data();
    a.weight = weight.data();
    a.outputs = of.outputs;
  }
  a.doubt = found.data();
  a.length = of.length;
  a.word_share = of.word_share;
  a.noise_share = of.noise_share;
  a.new_token_bonus = bonus;
  a.choice_temperature = temperature;
  a.last_masked = last;
  a.longest_word = longest;
  doubt(a, of.batch, nullptr);
  check(cudaGetLastError(), "doubt");
  return found.values();
}

// kernels/doubt.h, as a walk over a text finds its words.
std::vector<double> expected(const Texts& texts) {
  const Case& of = texts.of;
  std::vector<double> doubts;
  for (int64_t b = 0; b < of.batch; ++b) {
    const auto at = [&](int64_t t) { return static_cast<size_t>(b * of.length + t); };
    const auto waits = [&](int64_t t) { return of.whole && texts.waiting[at(t)] != 0; };
    const auto shown = [&](int64_t t) { return texts.eligible[at(t)] != 0 && !waits(t); };
    const auto goes_on = [&](int64_t t) {
      return shown(t) && shown(t - 1) && texts.begins[static_cast<size_t>(texts.tokens[at(t)])] != 0 &&
             texts.ends[static_cast<size_t>(texts.tokens[at(t - 1)])] != 0;
    };
    const auto surprise = [&](int64_t t) {
      const auto token = static_cast<size_t>(b * of.outputs + texts.tokens[at(t)]);
      return -exact(texts.log_probability[at(t)]) * (of.whole ? exact(texts.weight[token]) : 1);
    };
    const auto gumbel = [&](int64_t t) { return -std::log(-std::log(exact(texts.noise[at(t)]))); };
    const auto row = static_cast<size_t>(b);
    const double scale = exact(temperature) * exact(texts.numbers[2 * row + 1]) *
                         std::hypot(exact(texts.numbers[2 * row]), of.whole ? exact(texts.vocabulary_noise[row]) : 0);
    for (int64_t first = 0, next = 1; first < of.length; first = next++) {
      while (next < of.length && goes_on(next)) {
        ++next;
      }
      double most = surprise(first), least = gumbel(first);
      for (int64_t t = first + 1; t < next; ++t) {
        most = std::max(most, surprise(t));
        least = std::min(least, gumbel(t));
      }
      for (int64_t t = first; t < next; ++t) {
        const bool is_word = next - first <= longest;
        const double of_word = surprise(t) + (is_word ? exact(of.word_share) : 0) * (most - surprise(t));
        const double noise = gumbel(t) + (is_word ? exact(of.noise_share) : 0) * (least - gumbel(t));
        const double mine = of_word - (texts.drawn[at(t)] != 0 ? exact(bonus) : 0) - scale * noise;
        doubts.push_back(waits(t) ? exact(last) : mine);
      }
    }
  }
  return doubts;
}

bool agrees(const Case& of) {
  const Texts texts(of);
  const std::vector<float> found = run(texts);
  const std::vector<double> right = expected(texts);
  double off = 0;
  bool whole = true;
  for (size_t i = 0; i < found.size(); ++i) {
    whole = whole && std::isnan(found[i]) == (i >= right.size());
    if (i < right.size()) {
      const double each = std::fabs(exact(found[i]) - right[i]) / (1 + std::fabs(right[i]));
      off = each <= off ? off : each;
    }
  }
  const std::string name = std::to_string(of.batch) + " x " + std::to_string(of.length) + ", " +
                           std::to_string(of.outputs) + " tokens, shares " + std::to_string(of.word_share) + ", " +
                           std::to_string(of.noise_share);
  return report(name, off, 1e-4, /*taken=*/true, whole, /*alike=*/true);
}

}  // namespace

int main() {
  bool good = true;
  for (const Case& of :
       {Case{1, 1, 3, false, 0.5F, 0.5F}, Case{3, 257, 66, true, 0.3F, 0}, Case{3, 255, 66, false, 1, 1},
        Case{2, 300, 1030, true, 0.75F, 0.9F}, Case{2, 513, 5, true, 0, 0.4F}}) {
    good = agrees(of) && good;
  }
  return good ? 0 : 1;
}

#include "output/trace.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <iterator>
#include <map>
#include <string_view>
#include <utility>

#include "core/json.h"
#include "core/utf8.h"

namespace demask {
namespace {

using Json = nlohmann::ordered_json;

// A probability p is stored as round(254 p); this stands for none.
constexpr double largest_level = 254;
constexpr uint8_t no_level = 255;

// What a step did to a position.
enum class State : uint8_t {
  kept,       // visible before and after
  drawn,      // drawn, and left visible
  withdrawn,  // drawn, and masked again at once
  remasked,   // visible before, masked again
  masked,     // not its turn yet
};

// RFC 4648.
std::string base64(const std::vector<uint8_t>& bytes) {
  static constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k) {
      group = group << 8U | (k < count ? bytes[i + k] : 0U);
    }
    for (size_t k = 0; k < 4; ++k) {
      text += k <= count ? alphabet[group >> (18 - 6 * k) & 0x3FU] : '=';
    }
  }
  return text;
}

// The tokens that a trace speaks of, numbered in order of appearance, so that a number takes few bytes.
class TokenNumbers {
 public:
  uint32_t number(int64_t id) { return numbers_.emplace(id, static_cast<uint32_t>(numbers_.size())).first->second; }
  // [id] in the order of their numbers.
  std::vector<int64_t> ids() const {
    std::vector<int64_t> ids(numbers_.size());
    for (const auto& [id, number] : numbers_) {
      ids[number] = id;
    }
    return ids;
  }

 private:
  std::map<int64_t, uint32_t> numbers_;
};

Json table(std::string_view type, std::vector<int64_t> shape, const std::vector<uint8_t>& bytes) {
  return {{"type", type}, {"shape", std::move(shape)}, {"data", base64(bytes)}};
}

// In little endian, by the narrowest type that holds the largest.
Json table(const std::vector<int64_t>& shape, const std::vector<uint32_t>& numbers) {
  const uint32_t largest = numbers.empty() ? 0 : *std::max_element(numbers.begin(), numbers.end());
  const size_t width = largest < 0x100 ? 1 : largest < 0x10000 ? 2 : 4;
  std::vector<uint8_t> bytes;
  bytes.reserve(numbers.size() * width);
  for (const uint32_t number : numbers) {
    for (size_t k = 0; k < width; ++k) {
      bytes.push_back(static_cast<uint8_t>(number >> (8 * k)));
    }
  }
  return table(width == 1 ? "uint8" : width == 2 ? "uint16" : "uint32", shape, bytes);
}

uint8_t level(float probability) {
  return std::isnan(probability) ? no_level
                                 : static_cast<uint8_t>(std::lround(
                                       largest_level * std::clamp(static_cast<double>(probability), 0.0, 1.0)));
}

Json levels(const std::vector<int64_t>& shape, const at::Tensor& probabilities) {
  const float* values = probabilities.data_ptr<float>();
  std::vector<uint8_t> bytes(static_cast<size_t>(probabilities.numel()));
  std::transform(values, values + probabilities.numel(), bytes.begin(), level);
  return table("uint8", shape, bytes);
}

// Positions as [first, last) pairs.
Json ranges(const std::vector<bool>& chosen) {
  Json pairs = Json::array();
  for (size_t t = 0; t < chosen.size(); ++t) {
    if (!chosen[t]) {
      continue;
    }
    const size_t first = t;
    while (t < chosen.size() && chosen[t]) {
      ++t;
    }
    pairs.push_back({first, t});
  }
  return pairs;
}

// [S, T], row by row. In standard sampling one row of what was drawn.
std::vector<uint8_t> states_of(const TracedSample& sample, const at::Tensor& filled, std::optional<int64_t> mask) {
  const bool* masked = sample.steps->masked.data_ptr<bool>();
  const int64_t* tokens = filled.data_ptr<int64_t>();
  const size_t length = sample.given.size();
  std::vector<bool> hidden(length);  // before the step
  std::transform(sample.given.begin(), sample.given.end(), hidden.begin(), std::logical_not<>());
  std::vector<uint8_t> states;
  for (int64_t i = 0; i < filled.numel(); ++i) {
    const size_t t = static_cast<size_t>(i) % length;
    const bool visible_after = !masked[i];
    State state = visible_after ? State::kept : State::remasked;
    if (hidden[t]) {
      state = tokens[i] == mask ? State::masked : visible_after ? State::drawn : State::withdrawn;
    }
    states.push_back(static_cast<uint8_t>(state));
    hidden[t] = !visible_after;
  }
  return states;
}

// Steps after which nothing happens any more, because others of the batch took longer, are left out.
int64_t steps_that_count(const std::vector<uint8_t>& states, size_t length) {
  const auto last_change = std::find_if(states.rbegin(), states.rend(),
                                        [](uint8_t state) { return state != static_cast<uint8_t>(State::kept); });
  const auto until_then = static_cast<size_t>(states.rend() - last_change);
  return static_cast<int64_t>(std::max<size_t>(1, (until_then + length - 1) / length));
}

Json sample_json(const TracedSample& sample, std::optional<int64_t> mask, TokenNumbers& numbers) {
  const StepTrace& trace = *sample.steps;
  const auto length = static_cast<int64_t>(sample.given.size());
  std::vector<uint8_t> states = states_of(sample, trace.filled, mask);
  const int64_t steps = steps_that_count(states, sample.given.size());
  states.resize(static_cast<size_t>(steps * length));

  std::vector<uint32_t> tokens, likeliest;
  std::vector<uint8_t> likeliest_levels;
  const int64_t* filled = trace.filled.data_ptr<int64_t>();
  const int64_t choices = trace.likeliest.size(2);
  const int64_t* ids = trace.likeliest.data_ptr<int64_t>();
  const float* probabilities = trace.likeliest_probabilities.data_ptr<float>();
  for (int64_t i = 0; i < steps * length; ++i) {
    tokens.push_back(numbers.number(filled[i]));
    const auto state = static_cast<State>(states[static_cast<size_t>(i)]);
    for (int64_t k = i * choices; (state == State::drawn || state == State::withdrawn) && k < (i + 1) * choices; ++k) {
      likeliest.push_back(numbers.number(ids[k]));
      likeliest_levels.push_back(level(probabilities[k]));
    }
  }
  const std::vector<int64_t> shape{steps, length};
  const std::vector<int64_t> drawn_shape{static_cast<int64_t>(likeliest.size()) / choices, choices};

  Json object{{"index", sample.identity.index}, {"seed", sample.identity.seed}};
  if (!sample.identity.prompt_id.empty()) {
    object["id"] = Json::parse(sample.identity.prompt_id);
    object["sample"] = sample.identity.number;
  }
  object["self_confidence"] = sample.self_confidence;
  object["given"] = ranges(sample.given);
  object["scheduled"] = trace.scheduled.empty()
                            ? Json()
                            : Json(std::vector<int64_t>(trace.scheduled.begin(), trace.scheduled.begin() + steps));
  object["tokens"] = table(shape, tokens);
  object["states"] = table("uint8", shape, states);
  object["confidence"] = levels(shape, trace.confidence.narrow(0, 0, steps));
  object["judged"] = trace.judged.defined() ? levels(shape, trace.judged.narrow(0, 0, steps)) : Json();
  object["likeliest"] = table(drawn_shape, likeliest);
  object["likeliest_probabilities"] = table("uint8", drawn_shape, likeliest_levels);
  object["final_confidence"] = levels({length}, trace.final_confidence);
  return object;
}

bool has_text(int64_t id, std::optional<int64_t> mask, const Vocabulary& vocabulary) {
  return id != mask && vocabulary.has_text(id);
}

// What is not UTF-8 as U+FFFD.
Json texts_of(const std::vector<int64_t>& ids, std::optional<int64_t> mask, const Vocabulary& vocabulary) {
  Json texts = Json::array();
  for (const int64_t id : ids) {
    texts.push_back(has_text(id, mask, vocabulary) ? Json(repair_utf8(std::string(vocabulary.piece(id)))) : Json());
  }
  return texts;
}

// By places in `ids`: the bytes of those that hold parts of characters, and which are marks of the model's own.
void add_pieces(const std::vector<int64_t>& ids, std::optional<int64_t> mask, const Vocabulary& vocabulary,
                Json& trace) {
  Json bytes = Json::object(), special = Json::array();
  for (size_t place = 0; place < ids.size(); ++place) {
    if (!has_text(ids[place], mask, vocabulary)) {
      continue;
    }
    if (const std::string_view piece = vocabulary.piece(ids[place]); !is_utf8(piece)) {
      std::string hex;
      for (const char byte : piece) {
        hex += fmt::format("{:02x}", static_cast<unsigned char>(byte));
      }
      bytes[std::to_string(place)] = hex;
    }
    if (vocabulary.is_special(ids[place])) {
      special.push_back(place);
    }
  }
  trace["token_bytes"] = std::move(bytes);
  trace["special_tokens"] = std::move(special);
}

}  // namespace

Json trace_json(const TraceRun& run, const std::vector<TracedSample>& samples, const Vocabulary& vocabulary) {
  TokenNumbers numbers;
  Json traced = Json::array();
  for (const TracedSample& sample : samples) {
    traced.push_back(sample_json(sample, run.mask_token_id, numbers));
  }
  const std::vector<int64_t> ids = numbers.ids();
  Json trace{
      {"format", trace_format}, {"version", trace_version}, {"method", run.method},
      {"title", run.title},     {"command", run.command},   {"description", run.description},
      {"run", run.header},      {"token_ids", ids},         {"tokens", texts_of(ids, run.mask_token_id, vocabulary)}};
  if (!vocabulary.characters()) {
    add_pieces(ids, run.mask_token_id, vocabulary, trace);
  }
  trace["samples"] = std::move(traced);
  return trace;
}

std::string to_text(const Json& trace) {
  // Paths need not be UTF-8: what is not is replaced.
  return dump_json(trace);
}

}  // namespace demask

#include "bench/case_run.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <functional>
#include <memory>

#include "bench/table.h"
#include "bench/timing.h"
#include "bench/yardstick.h"
#include "core/notice.h"
#include "model/device.h"

namespace demask::bench {
namespace {

constexpr int64_t most_plain_repeats = 3;  // they take seconds each on the CPU

at::Tensor random_tokens(const ModelInfo& info, int64_t batch, int64_t length, at::Device device) {
  const int64_t ids = info.input_size > 0 ? std::min(info.input_size, info.output_size) : info.output_size;
  return at::randint(ids, {batch, length}, at::TensorOptions(at::kLong).device(device));
}

// Seconds that the forwards of one draw take with nothing between them.
double bare_forwards(const Loaded& loaded, int64_t batch, int64_t forwards, int64_t repeats) {
  const c10::InferenceMode inference;
  const Context& context = loaded.context();
  const int64_t length = loaded.prompt->length, drawn = loaded.prompt->generated;
  const at::Tensor tokens = random_tokens(context.model->info(), batch, length, context.device);
  if (context.config.sampling_method == SamplingMethod::diffusion) {
    return static_cast<double>(forwards) *
           seconds_per_call(context.device, repeats, [&] { context.model->logits(tokens); });
  }
  return seconds_per_call(context.device, repeats, [&] {
    const GrowingText text{tokens, at::full({1}, length - drawn - 1, tokens.options())};
    const std::unique_ptr<DecodingSession> decoding = context.model->begin(text);
    const at::Tensor zero = at::zeros({1}, tokens.options());
    decoding->restart({length - drawn, zero, zero.expand({batch})}, [](const Slice&, const at::Tensor&) {});
    for (int64_t at = length - drawn; at < length; ++at) {
      decoding->next_logits();
      decoding->advance();
      text.position.add_(1);
    }
  });
}

std::vector<Column> columns(bool with_yardstick, bool with_anchors) {
  std::vector<Column> columns = {{"case", 30},     {"seconds", 8}, {"min", 8},      {"max", 8},
                                 {"load s", 7},    {"tok/s", 8},   {"forwards", 8}, {"ms/fwd", 8},
                                 {"outside %", 9}, {"limit s", 8}, {"of limit", 8}};
  if (with_yardstick) {
    columns.insert(columns.end(), {{"plain s", 8}, {"ratio", 6}});
  }
  if (with_anchors) {
    columns.insert(columns.end(), {{"sample.py", 9}, {"faster", 7}, {"to reach", 8}});
  }
  return columns;
}

void draw(const Loaded& loaded) {
  loaded.draw(0, loaded.context().config.num_samples);
}

double outside_share(const CaseResult& result) {
  return 1 - result.bare_s / spread(result.seconds).median;
}

std::optional<double> median_plain(const CaseResult& result) {
  return result.plain_seconds.empty() ? std::nullopt : std::optional<double>(spread(result.plain_seconds).median);
}

// The median of what each turn gives.
std::optional<double> ratio_to_plain(const CaseResult& result) {
  std::vector<double> ratios;
  for (size_t i = 0; i < result.plain_seconds.size(); ++i) {
    ratios.push_back(result.seconds_beside_plain[i] / result.plain_seconds[i]);
  }
  return ratios.empty() ? std::nullopt : std::optional<double>(spread(ratios).median);
}

std::vector<std::string> cells(const Case& one, const CaseResult& result, const std::optional<Anchor>& anchor,
                               bool with_yardstick, bool with_anchors) {
  const Spread seconds = spread(result.seconds);
  const std::optional<double> of_limit =
      result.limit_s ? std::optional<double>(*result.limit_s / seconds.median) : std::nullopt;
  std::vector<std::string> cells = {one.name,
                                    show_seconds(seconds.median),
                                    show_seconds(seconds.least),
                                    show_seconds(seconds.most),
                                    show_seconds(result.load_s),
                                    show(static_cast<double>(result.tokens) / seconds.median, 0),
                                    fmt::format("{}", result.forwards),
                                    show(1e3 * seconds.median / static_cast<double>(result.forwards), 3),
                                    show(100 * outside_share(result), 1),
                                    show_seconds(result.limit_s),
                                    show(of_limit, 3)};
  if (with_yardstick) {
    cells.push_back(show_seconds(median_plain(result)));
    cells.push_back(show(ratio_to_plain(result), 3));
  }
  if (with_anchors) {
    cells.push_back(anchor ? show_seconds(anchor->original) : "-");
    cells.push_back(anchor ? show(anchor->original / seconds.median, 1) + "x" : "-");
    cells.push_back(anchor ? show_seconds(anchor->to_reach) : "-");
  }
  return cells;
}

nlohmann::ordered_json optional_json(const std::optional<double>& number) {
  return number ? nlohmann::ordered_json(*number) : nlohmann::ordered_json(nullptr);
}

nlohmann::ordered_json case_json(const Case& one, const CaseResult& result, const std::optional<Anchor>& anchor) {
  const double median = spread(result.seconds).median;
  nlohmann::ordered_json json = {{"case", one.name},
                                 {"arguments", result.arguments},
                                 {"seconds", spread_json(result.seconds)},
                                 {"load_s", result.load_s},
                                 {"tokens", result.tokens},
                                 {"tokens_per_s", static_cast<double>(result.tokens) / median},
                                 {"forwards", result.forwards},
                                 {"ms_per_forward", 1e3 * median / static_cast<double>(result.forwards)},
                                 {"bare_forwards_s", result.bare_s},
                                 {"share_outside_forward", outside_share(result)},
                                 {"limit_s", optional_json(result.limit_s)},
                                 {"operations_at_large_product_rate_s", optional_json(result.at_large_rate)}};
  json["fraction_of_limit"] =
      optional_json(result.limit_s ? std::optional<double>(*result.limit_s / median) : std::nullopt);
  if (!result.plain_seconds.empty()) {
    json["plain_operations_s"] = spread_json(result.plain_seconds);
    json["beside_plain_operations_s"] = spread_json(result.seconds_beside_plain);
    json["ratio_to_plain_operations"] = *ratio_to_plain(result);
  }
  if (anchor) {
    json["sample_py_s"] = anchor->original;
    json["to_reach_s"] = anchor->to_reach;
    json["times_faster_than_sample_py"] = anchor->original / median;
  }
  return json;
}

}  // namespace

std::vector<double> time_draws(const Loaded& loaded, int64_t repeats) {
  return time_calls(loaded.context().device, repeats, [&] { draw(loaded); });
}

CaseResult run_case(const Case& one, const Options& options, const Ceilings& ceilings) {
  CaseResult result;
  result.arguments = complete_arguments(one.arguments, one.samples, passed_through(options));
  const Loaded loaded(result.arguments);
  result.load_s = loaded.seconds;
  result.tokens = one.samples * loaded.prompt->generated;
  result.seconds = time_draws(loaded, options.repeats);
  const int64_t draws = options.repeats + warm_ups(options.device);
  result.forwards = loaded.engine.forwards() / draws;  // every draw makes as many
  if (options.yardstick) {
    if (const std::function<void()> plain_draw = make_plain_draw(loaded.context(), *loaded.prompt)) {
      const Turns turns = time_in_turns(
          options.device, std::min(options.repeats, most_plain_repeats), [&] { draw(loaded); }, plain_draw);
      result.seconds_beside_plain = turns.first;
      result.plain_seconds = turns.second;
    }
  }
  result.bare_s = bare_forwards(loaded, one.samples, result.forwards, options.repeats);
  if (one.shape) {
    const ForwardSize size{one.samples, loaded.prompt->length, loaded.context().model->info().output_size};
    const auto forwards = static_cast<double>(result.forwards);
    result.limit_s = forwards * forward_limit(*one.shape, size, options, ceilings);
    result.at_large_rate = forwards * (weight_operations(*one.shape, size) + attention_operations(*one.shape, size)) /
                           ceilings.product_rate;
  }
  return result;
}

nlohmann::ordered_json run_cases(const std::vector<Case>& cases, const Options& options, const Ceilings& ceilings,
                                 bool with_anchors, std::FILE* file) {
  auto results = nlohmann::ordered_json::array();
  fmt::print(file, "\nCases: seconds of one warm draw of all samples, the median of {}\n", options.repeats);
  Table table(file, columns(options.yardstick, with_anchors));
  for (const Case& one : cases) {
    // Times taken on another kind of device say nothing about this one.
    const std::optional<Anchor> anchor =
        with_anchors && one.cuda == options.device.is_cuda() ? find_anchor(one.name) : std::nullopt;
    try {
      const CaseResult result = run_case(one, options, ceilings);
      table.row(cells(one, result, anchor, options.yardstick, with_anchors));
      results.push_back(case_json(one, result, anchor));
    } catch (const std::exception& error) {
      diagnostic(fmt::format("{} failed: {}\n", one.name, error.what()));
      results.push_back({{"case", one.name}, {"failed", error.what()}});
    }
    release_cached_memory(options.device);
  }
  return results;
}

}  // namespace demask::bench

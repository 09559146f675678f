#include "config/settle.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "config/devices.h"
#include "config/fields.h"
#include "core/error.h"
#include "core/text.h"
#include "sampling/strategies/strategy.h"

namespace demask {
namespace {

// A key left at its default harms nobody, wherever it was written: a printed configuration has them all.
bool differs_from_default(const Field& field, const Config& config) {
  return !(value_of(field, config) == value_of(field, Config{}));
}

void check_strategy_takes_what_is_given(const ParsedConfig& parsed) {
  const Config& config = parsed.config;
  const Strategy& strategy = *config.diffusion.strategy;
  for (const Field& field : fields()) {
    if (!parsed.is_given(field.name) || !differs_from_default(field, config)) {
      continue;
    }
    if (config.sampling_method == SamplingMethod::standard) {
      if (field.group == strategies_group) {
        fail(ExitCode::bad_usage, "{} belongs to sampling_method='diffusion': standard sampling has no strategies.",
             field.name);
      }
    } else if (field.taken_by && !field.taken_by(strategy)) {
      fail(ExitCode::bad_usage, "{} is not for strategy='{}': it is taken by {}.", field.name, strategy.name,
           field.strategies);
    }
  }
}

// What holds for every strategy.
void check_diffusion(const DiffusionSettings& settings) {
  if (settings.schedule_power && settings.schedule_type != ScheduleType::power) {
    fail(ExitCode::bad_usage, "schedule_power needs schedule_type='power', not '{}'.", name_of(settings.schedule_type));
  }
  if (settings.schedule_type == ScheduleType::power && !settings.schedule_power) {
    fail(ExitCode::bad_usage, "schedule_type='power' is not for strategy='{}': it is taken by {}.",
         settings.strategy->name, find_field("schedule_power")->strategies);
  }
  if (settings.temperature_end && settings.temperature == 0) {
    fail(ExitCode::bad_usage, "temperature_end={} needs a temperature above 0 to start from; temperature=0 is greedy.",
         *settings.temperature_end);
  }
  if (settings.confidence_source && settings.remasking_checkpoint_name) {
    fail(ExitCode::bad_usage,
         "confidence_source='{}' and remasking_checkpoint_name exclude each other: the remasking model judges.",
         name_of(*settings.confidence_source));
  }
  if (settings.cache != CacheKind::none && !settings.block_length) {
    fail(
        ExitCode::bad_usage,
        "cache='{}' keeps what is outside of a block, and there are no blocks: give --block_length=N, or leave it out.",
        name_of(settings.cache));
  }
  if (settings.forwards && settings.masking_ratios) {
    fail(ExitCode::bad_usage, "forwards={} and masking_ratios exclude each other: the list says how many iterations.",
         *settings.forwards);
  }
}

void settle_ratios(ParsedConfig& parsed) {
  DiffusionSettings& settings = parsed.config.diffusion;
  if (settings.masking_ratios && !parsed.is_given("schedule_type")) {
    settings.schedule_type = ScheduleType::custom;
  }
  if (settings.masking_ratios && settings.schedule_type != ScheduleType::custom) {
    fail(ExitCode::bad_usage,
         "schedule_type='{}' contradicts masking_ratios: set schedule_type='custom', or masking_ratios=None",
         name_of(settings.schedule_type));
  }
  if (!settings.masking_ratios && settings.schedule_type == ScheduleType::custom) {
    fail(ExitCode::bad_usage,
         "schedule_type='custom' takes its steps from masking_ratios, which is not set: give one such as "
         "--masking_ratios=\"[0.9, 0.5, 0.1]\"");
  }
}

void check_device(const Config& config) {
  const std::vector<int64_t> numbers = numbered_devices(config.device).value_or(std::vector<int64_t>{});
  for (auto number = numbers.begin(); number != numbers.end(); ++number) {
    if (std::find(numbers.begin(), number, *number) != number) {
      fail(ExitCode::bad_usage, "device='{}': names cuda:{} twice. Name each device once.", config.device, *number);
    }
  }
}

void check_live(const Config& config) {
  if (config.live && (config.use_verbose_logging || config.log_debug)) {
    fail(ExitCode::bad_usage, "live=True and {}=True exclude each other: both would have the terminal. Leave one out.",
         config.use_verbose_logging ? "use_verbose_logging" : "log_debug");
  }
}

// What reads or writes a file and draws nothing, so that a file of samples would never come.
void check_draws_nothing(std::string_view key, const std::optional<std::string>& file, std::string_view does,
                         const Config& config) {
  if (!file) {
    return;
  }
  for (const std::string_view other : {"output", "trace", "report", "prompts", "score", "merge", "export"}) {
    const Literal given = value_of(*find_field(other), config);
    if (other != key && !(given == Literal{})) {
      fail(ExitCode::bad_usage, "{}='{}' {} and draws nothing: leave {}='{}' out.", key, *file, does, other,
           std::get<std::string>(given.value));
    }
  }
}

// Scoring draws nothing, so that what says which samples there are or shows their steps would do nothing.
void check_score(const Config& config) {
  if (!config.score) {
    if (config.score_tokens) {
      fail(ExitCode::bad_usage, "score_tokens=True is about scores, and nothing is scored: give --score=FILE.");
    }
    return;
  }
  for (const std::string_view key :
       {"prompts", "start_text", "infill_text", "pattern", "words", "num_samples", "first_sample", "best_of", "export",
        "trace", "report", "live", "use_verbose_logging", "log_debug"}) {
    const bool is_one_sample = key == "num_samples" && config.num_samples == 1;
    if (differs_from_default(*find_field(key), config) && !is_one_sample) {
      fail(ExitCode::bad_usage, "score='{}' scores texts and draws nothing: leave {} out.", *config.score, key);
    }
  }
  if (config.output && *config.output != "-" && !ends_with(*config.output, ".jsonl")) {
    fail(ExitCode::bad_usage, "output='{}': scores are JSON lines: name a file that ends in .jsonl, or leave it out.",
         *config.output);
  }
}

void check_gaps(const Config& config) {
  if (!config.gap_char) {
    return;
  }
  if (config.sampling_method == SamplingMethod::standard) {
    fail(ExitCode::bad_usage,
         "gap_char='{}' needs --sampling_method=diffusion: standard sampling writes from left to right only.",
         *config.gap_char);
  }
  if (!config.infill_text && !config.prompts) {
    fail(ExitCode::bad_usage, "gap_char='{}' marks gaps of a template, and there is none: give --infill_text.",
         *config.gap_char);
  }
  if (*config.gap_char == config.mask_char) {
    fail(ExitCode::bad_usage, "gap_char and mask_char are both '{}': give each a character of its own.",
         config.mask_char);
  }
  if (config.gap_min > config.gap_max) {
    fail(ExitCode::bad_usage, "gap_min={} is above gap_max={}: a gap has from gap_min to gap_max tokens.",
         config.gap_min, config.gap_max);
  }
}

// A run file is in the order of the list, or it could not be gone on with.
void check_order(const Config& config) {
  if (config.order == Order::done && config.output && ends_with(*config.output, ".jsonl")) {
    fail(ExitCode::bad_usage,
         "order='done' and output='{}' exclude each other: such a file is in the order of the list. Give --output=-.",
         *config.output);
  }
  if (config.batch_wait_ms != Config{}.batch_wait_ms && !config.prompts && !config.score) {
    fail(ExitCode::bad_usage, "batch_wait_ms={} is for lines of --prompts or --score, and neither is given.",
         config.batch_wait_ms);
  }
}

void settle_scale(ParsedConfig& parsed) {
  Config& config = parsed.config;
  check_order(config);
  if (config.merge && config.output == "-") {
    fail(ExitCode::bad_usage, "merge='{}' writes a file, and output='-' is none: give --output=FILE.jsonl.",
         *config.merge);
  }
  if (config.merge && !config.output) {
    fail(ExitCode::bad_usage, "merge='{}' needs an output to write to: --output=FILE.jsonl.", *config.merge);
  }
  if (config.resume && !(config.output && ends_with(*config.output, ".jsonl"))) {
    fail(ExitCode::bad_usage, "resume=True goes on with JSON lines: it needs an --output that ends in .jsonl{}.",
         config.output ? fmt::format(", and '{}' does not", *config.output) : "");
  }
  if (config.on_error == OnError::skip && !config.prompts && !config.score) {
    fail(ExitCode::bad_usage, "on_error='skip' is for lines of --prompts or --score, and neither is given.");
  }
  if (!config.prompts) {
    return;
  }
  if (!config.start_text.empty() || config.infill_text) {
    fail(ExitCode::bad_usage, "prompts='{}' and {} exclude each other: put the text into the list.", *config.prompts,
         config.infill_text ? "infill_text" : "start_text");
  }
  if (config.first_sample != 0) {
    fail(ExitCode::bad_usage,
         "first_sample={} has no place beside prompts, whose samples count from 0: --shard makes a part of them.",
         config.first_sample);
  }
  if (!parsed.is_given("num_samples")) {
    config.num_samples = 1;
  }
}

std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return text;
}

// Takes the ending from the text's end, in any case; false where it is not there.
bool drop_ending(std::string& text, std::string_view ending) {
  const bool there = ends_with(lower_case(text), ending);
  text.resize(text.size() - (there ? ending.size() : 0));
  return there;
}

// The ending decides between JSON lines and plain text, so that one which promises what demask does not write is
// refused.
void check_output_name(const std::string& output) {
  std::string name = output;
  bool compressed = false;
  for (const std::string_view ending : {".gz", ".bz2", ".xz", ".zst"}) {
    compressed = drop_ending(name, ending) || compressed;
  }
  const bool json = drop_ending(name, ".jsonl") || drop_ending(name, ".json") || drop_ending(name, ".ndjson");
  const std::string written = json ? name + ".jsonl" : name;
  if (written != output && (json || compressed)) {
    fail(ExitCode::bad_usage, "output='{}': demask writes {}: name the file '{}'.", output,
         json ? "JSON lines, uncompressed, whose name ends in .jsonl" : "plain text, uncompressed", written);
  }
}

void check_watching(const Config& config) {
  if (config.output) {
    check_output_name(*config.output);
  }
  if (config.trace_samples && !config.trace && !config.report) {
    fail(ExitCode::bad_usage,
         "trace_samples says what is traced, and nothing is: give --trace=FILE.json or "
         "--report=FILE.html.");
  }
  if (config.compare && !config.report) {
    fail(ExitCode::bad_usage, "compare='{}' is shown by a report: give --report=FILE.html.", *config.compare);
  }
  const auto written_by_two = [](const char* left, const std::optional<std::string>& one, const char* right,
                                 const std::optional<std::string>& other) {
    if (one && one == other) {
      fail(ExitCode::bad_usage, "{} and {} are both '{}': give each a file of its own.", left, right, *one);
    }
  };
  written_by_two("trace", config.trace, "report", config.report);
  written_by_two("output", config.output, "trace", config.trace);
  written_by_two("output", config.output, "report", config.report);
}

}  // namespace

void settle(ParsedConfig& parsed) {
  Config& config = parsed.config;
  settle_ratios(parsed);
  if (config.sampling_method == SamplingMethod::standard && parsed.is_given("temperature") &&
      !parsed.is_given("std_temperature")) {
    config.std_temperature = config.diffusion.temperature;
  }
  if (config.sampling_method == SamplingMethod::diffusion && !parsed.is_given("top_k")) {
    config.top_k.reset();
  }
  check_device(config);
  check_live(config);
  check_watching(config);
  check_draws_nothing("inspect", config.inspect, "looks into a file", config);
  check_draws_nothing("export", config.export_folder, "writes the model", config);
  check_score(config);
  check_gaps(config);
  settle_scale(parsed);
  check_strategy_takes_what_is_given(parsed);
  if (config.sampling_method == SamplingMethod::diffusion) {
    settle_strategy(config.diffusion, [&parsed](std::string_view key) { return parsed.is_given(key); });
    check_diffusion(config.diffusion);
  }
}

}  // namespace demask

// Every setting a user can give, as plain structs; config/fields.h describes them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/names.h"
#include "sampling/diffusion_settings.h"
#include "sampling/score_settings.h"

namespace demask {

enum class SamplingMethod { diffusion, standard };
template <>
inline constexpr std::array<std::string_view, 2> names_of<SamplingMethod>{"diffusion", "standard"};

// What happens to characters of a prompt that the vocabulary lacks.
enum class UnknownChars { error, skip };
template <>
inline constexpr std::array<std::string_view, 2> names_of<UnknownChars>{"error", "skip"};

// What happens where a line of `prompts` or `score` cannot be used.
enum class OnError { stop, skip };
template <>
inline constexpr std::array<std::string_view, 2> names_of<OnError>{"stop", "skip"};

// When a sample is written: in its turn, or as soon as it is drawn.
enum class Order { input, done };
template <>
inline constexpr std::array<std::string_view, 2> names_of<Order>{"input", "done"};

// How what `inspect` finds is written.
enum class InspectFormat { text, json };
template <>
inline constexpr std::array<std::string_view, 2> names_of<InspectFormat>{"text", "json"};

enum class Precision { automatic, float32, bfloat16, float16, int8 };
template <>
inline constexpr std::array<std::string_view, 5> names_of<Precision>{"auto", "float32", "bfloat16", "float16", "int8"};

// Members are named as their keys, but for one; an optional is a key that can be None.
struct Config {
  SamplingMethod sampling_method = SamplingMethod::diffusion;
  std::string init_from = "resume";
  std::string out_dir = "out";
  std::optional<std::string> checkpoint_name;
  std::string data_dir = "data";
  std::optional<std::string> dataset;
  std::optional<std::string> meta_path;
  std::optional<int64_t> mask_token_id;
  std::optional<std::string> export_folder;  // its key is `export`, which C++ has for itself
  std::optional<std::string> inspect;
  InspectFormat inspect_format = InspectFormat::text;

  int64_t num_samples = 4;
  int64_t first_sample = 0;
  std::optional<int64_t> batch_size;
  int64_t sequence_length = 512;
  int64_t max_new_tokens = 100;
  std::string start_text;
  std::optional<std::string> infill_text;
  std::string mask_char = "#";
  std::optional<std::string> pattern;
  std::optional<std::string> words;
  std::optional<std::string> gap_char;
  int64_t gap_min = 1;
  int64_t gap_max = 16;
  UnknownChars unknown_chars = UnknownChars::error;
  bool parse_special = false;
  std::optional<bool> stop_at_end;

  int64_t seed = 1337;
  std::string device = "auto";
  Precision dtype = Precision::automatic;
  bool compile = false;
  bool batch_invariant = true;

  double top_p = 1.0;
  double repetition_penalty = 1.0;
  int64_t repetition_window = 10;

  DiffusionSettings diffusion;  // temperature and remasking model too

  double std_temperature = 0.8;
  std::optional<int64_t> top_k = 200;

  bool show_progress = true;
  bool use_verbose_logging = false;
  bool log_debug = false;
  bool live = false;
  std::optional<std::string> output;
  std::optional<std::string> trace;
  std::optional<std::vector<int64_t>> trace_samples;
  std::optional<std::string> report;
  std::optional<std::string> compare;

  std::optional<std::string> score;
  ScoreMethod score_method = ScoreMethod::automatic;
  int64_t score_draws = 128;
  bool score_tokens = false;
  int64_t best_of = 1;

  std::optional<std::string> prompts;
  OnError on_error = OnError::stop;
  Order order = Order::input;
  int64_t batch_wait_ms = 5;
  bool resume = false;
  std::optional<std::string> shard;
  std::optional<std::string> merge;
};

// A configuration, and the keys that the user gave rather than left at their defaults.
struct ParsedConfig {
  Config config;
  std::set<std::string> given;

  bool is_given(std::string_view key) const { return given.count(std::string(key)) > 0; }
};

}  // namespace demask

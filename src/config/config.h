// Every setting a user can give, as a plain struct, and the one table that describes them: their names, types, ranges
// and help.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/literal.h"

namespace demask {

// Members are named as their keys; an optional is a key that can be None.
struct Config {
  std::string sampling_method = "diffusion";
  std::string init_from = "resume";
  std::string out_dir = "out";
  std::optional<std::string> checkpoint_name;
  std::optional<std::string> remasking_checkpoint_name;
  std::string data_dir = "data";
  std::optional<std::string> dataset;
  std::optional<std::string> meta_path;
  std::optional<int64_t> mask_token_id;

  int64_t num_samples = 4;
  int64_t first_sample = 0;
  std::optional<int64_t> batch_size;
  int64_t sequence_length = 512;
  int64_t max_new_tokens = 100;
  std::string start_text;
  std::optional<std::string> infill_text;
  std::string mask_char = "#";
  std::string unknown_chars = "error";

  int64_t seed = 1337;
  std::string device = "auto";
  std::string dtype = "auto";
  bool compile = false;

  double temperature = 0.8;
  double top_p = 1.0;
  double repetition_penalty = 1.0;
  int64_t repetition_window = 10;

  int64_t diffusion_iterations = 50;
  double start_ratio = 0.95;
  double end_ratio = 0.05;
  std::string schedule_type = "linear";
  std::optional<std::vector<double>> masking_ratios;
  bool intelligent_remasking = true;
  double randomness_strength = 0.4;
  std::string remasking_positive_class = "wrong";

  std::string strategy = "remask";
  std::optional<int64_t> forwards;
  std::optional<int64_t> block_length;
  std::optional<std::string> confidence_source;
  std::optional<double> temperature_end;
  double cfg_scale = 0.0;
  std::optional<double> schedule_power;
  std::optional<double> alg_temp;
  std::optional<double> choice_temperature;
  std::optional<double> threshold;
  std::optional<double> factor;
  std::optional<double> gamma;
  std::optional<double> conf_threshold;
  std::optional<double> kl_threshold;
  std::optional<int64_t> kl_history;
  std::optional<std::string> remdm;
  std::optional<double> eta;
  std::optional<double> t_on;
  std::optional<double> t_off;
  std::optional<double> alpha_on;
  std::optional<double> prior_weight;
  std::optional<double> new_token_bonus;
  std::optional<double> rescored_share;

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

  std::optional<std::string> prompts;
  std::string on_error = "stop";
  bool resume = false;
  std::optional<std::string> shard;
  std::optional<std::string> merge;
};

// What a number, or each number of a list, may be.
struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool above_low = false;  // `low` itself is not allowed
};

// What a text may be: one of a few words, or whatever `matches` says, described in words.
using Choices = std::vector<std::string_view>;
struct Form {
  std::string_view description;
  bool (*matches)(const std::string& text);
};

// One key. The type of `member` is the type of the key.
struct Field {
  using Member = std::variant<bool Config::*, int64_t Config::*, double Config::*, std::string Config::*,
                              std::optional<int64_t> Config::*, std::optional<double> Config::*,
                              std::optional<std::string> Config::*, std::optional<std::vector<double>> Config::*,
                              std::optional<std::vector<int64_t>> Config::*>;

  std::string_view name;
  Member member;
  std::variant<std::monostate, Range, Choices, Form> rule;
  std::string_view group;
  std::string_view help;
  std::string_view alias = {};  // nanoGPT's own name for it
  // The strategies that take it, separated by ", "; empty: all of them, or none of their business.
  std::string_view strategies = {};
};

// The table: every member of Config once, groups together.
const std::vector<Field>& fields();

// By name or alias; null where there is none.
const Field* find_field(std::string_view name);

// The key whose name is the fewest edits away.
std::string_view nearest_name(std::string_view misspelt);

bool is_bool(const Field& field);
bool is_text(const Field& field);
bool can_be_none(const Field& field);

// What the key takes, in words that complete "must be ...".
std::string allowed_values(const Field& field);

Literal value_of(const Field& field, const Config& config);

// A configuration, and the keys that the user gave rather than left at their defaults.
struct ParsedConfig {
  Config config;
  std::set<std::string> given;
};

// Sets the key. False, and nothing changes, where the value has the wrong type or is out of range.
[[nodiscard]] bool assign(const Field& field, const Literal& value, ParsedConfig& parsed);

// Once everything is read: sets what some keys imply for others; throws (bad_usage) where keys contradict each other.
void settle(ParsedConfig& parsed);

// The configuration as a config file that reads back to the same.
std::string print_config(const Config& config);

}  // namespace demask

#include "config/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <type_traits>
#include <utility>

#include "core/error.h"

namespace demask {
namespace {

// Sums and products of two counts stay well inside int64.
constexpr double largest_count = 1e9;
constexpr Range count_from(double low) {
  return {low, largest_count};
}
constexpr Range share{0.0, 1.0};
constexpr std::monostate anything;

constexpr std::string_view checkpoints = "Checkpoints and vocabulary";
constexpr std::string_view samples = "Samples and their text";
constexpr std::string_view running = "Randomness, device and precision";
constexpr std::string_view drawing = "Drawing tokens";
constexpr std::string_view diffusion = "Diffusion";
constexpr std::string_view strategies = "Strategies of diffusion; None is each one's own default";
constexpr std::string_view standard = "Standard sampling";
constexpr std::string_view watching = "Output and watching it work";
constexpr std::string_view scale = "Many prompts, many machines, long runs";

bool is_resume(const std::string& text) {
  return text == "resume";
}

bool is_device(const std::string& text) {
  constexpr std::string_view numbered = "cuda:";
  if (text.compare(0, numbered.size(), numbered) != 0) {
    return text == "auto" || text == "cpu" || text == "cuda";
  }
  const std::string index = text.substr(numbered.size());
  return (index.size() == 1 || index.size() == 2) && index.find_first_not_of("0123456789") == std::string::npos;
}

// One code point of UTF-8, by the lengths and bounds of RFC 3629.
bool is_one_character(const std::string& text) {
  const auto byte = [&text](size_t i) { return static_cast<unsigned char>(text[i]); };
  if (text.size() == 1) {
    return byte(0) < 0x80;
  }
  const bool continued = text.size() > 1 && std::all_of(text.begin() + 1, text.end(), [](char c) {
                           return (static_cast<unsigned char>(c) & 0xC0U) == 0x80;
                         });
  if (!continued) {
    return false;
  }
  switch (text.size()) {
    case 2:
      return byte(0) >= 0xC2 && byte(0) <= 0xDF;
    case 3:
      return (byte(0) & 0xF0U) == 0xE0 && (byte(0) != 0xE0 || byte(1) >= 0xA0) && (byte(0) != 0xED || byte(1) < 0xA0);
    case 4:
      return byte(0) >= 0xF0 && byte(0) <= 0xF4 && (byte(0) != 0xF0 || byte(1) >= 0x90) &&
             (byte(0) != 0xF4 || byte(1) < 0x90);
    default:
      return false;
  }
}

std::vector<Field> make_fields() {
  using C = Config;
  constexpr std::string_view comes_back = "remask, best";
  constexpr std::string_view with_a_model = "remask, planner";
  constexpr std::string_view on_schedule =
      "remask, confidence, random, margin, entropy, ancestral, maskgit, remdm, planner, best";
  constexpr std::string_view judging =
      "remask, confidence, margin, entropy, maskgit, threshold, factor, entropy_bound, klass, planner, best";
  return {
      {"sampling_method", &C::sampling_method, Choices{"diffusion", "standard"}, checkpoints,
       "demask a whole text step by step, or write it left to right"},
      {"init_from", &C::init_from,
       Form{"'resume', the only source: demask samples from existing checkpoints", is_resume}, checkpoints,
       "where the model comes from"},
      {"out_dir", &C::out_dir, anything, checkpoints, "folder of the checkpoints"},
      {"checkpoint_name", &C::checkpoint_name, anything, checkpoints,
       "file in out_dir, or an absolute path; None: diffusion.pt or standard.pt"},
      {"remasking_checkpoint_name", &C::remasking_checkpoint_name, anything, checkpoints,
       "model in out_dir that says which tokens to mask again", "", with_a_model},
      {"data_dir", &C::data_dir, anything, checkpoints, "folder of the datasets"},
      {"dataset", &C::dataset, anything, checkpoints,
       "its folder in data_dir holds meta.pkl or meta.json; None: as the checkpoint says"},
      {"meta_path", &C::meta_path, anything, checkpoints, "vocabulary file, in place of data_dir and dataset"},
      {"mask_token_id", &C::mask_token_id, Range{0.0, largest_count}, checkpoints,
       "id of the mask token; None: as the vocabulary or the model says"},

      {"num_samples", &C::num_samples, count_from(1), samples, "how many samples"},
      {"first_sample", &C::first_sample, count_from(0), samples, "index of the first, to split or continue a run"},
      {"batch_size", &C::batch_size, count_from(1), samples, "samples at a time; None: as many as fit"},
      {"sequence_length", &C::sequence_length, count_from(1), samples,
       "diffusion: length in tokens, at most the model's block size"},
      {"max_new_tokens", &C::max_new_tokens, count_from(1), samples, "standard: tokens to add to the prompt"},
      {"start_text", &C::start_text, anything, samples, "prompt, or FILE:path; in diffusion a fixed prefix", "start"},
      {"infill_text", &C::infill_text, anything, samples,
       "diffusion: template, or FILE:path; each mask_char is filled in"},
      {"mask_char", &C::mask_char, Form{"a single character", is_one_character}, samples,
       "the character of infill_text that marks a position to fill"},
      {"unknown_chars", &C::unknown_chars, Choices{"error", "skip"}, samples,
       "prompt characters outside the vocabulary: refuse or drop them"},

      {"seed", &C::seed, Range{-1.0}, running, "same seed, same text; -1 draws one and prints it"},
      {"device", &C::device, Form{"'auto', 'cpu', 'cuda' or 'cuda:N' with N from 0 to 99", is_device}, running,
       "where to run; auto: CUDA if there is any"},
      {"dtype", &C::dtype, Choices{"auto", "float32", "bfloat16", "float16"}, running,
       "precision; auto: bfloat16 where the device multiplies in it, else float32"},
      {"compile", &C::compile, anything, running, "spend start-up time to run faster"},

      {"temperature", &C::temperature, Range{0.0}, drawing, "diffusion: lower is safer, 0 takes the likeliest token"},
      {"top_p", &C::top_p, Range{0.0, 1.0, true}, drawing,
       "nucleus: only the likeliest tokens that reach this probability"},
      {"repetition_penalty", &C::repetition_penalty, Range{0.0, Range{}.high, true}, drawing,
       "above 1 discourages tokens seen shortly before"},
      {"repetition_window", &C::repetition_window, count_from(0), drawing,
       "how many positions before count as shortly"},

      {"diffusion_iterations", &C::diffusion_iterations, count_from(1), diffusion, "steps of the linear schedule"},
      {"start_ratio", &C::start_ratio, share, diffusion, "share of the text masked at its start", "", comes_back},
      {"end_ratio", &C::end_ratio, share, diffusion, "share of the text masked at its end", "", comes_back},
      {"schedule_type", &C::schedule_type, Choices{"linear", "cosine", "power", "custom"}, diffusion,
       "how the masked share falls; custom takes its steps from masking_ratios", "", on_schedule},
      {"masking_ratios", &C::masking_ratios, share, diffusion, "share masked at each step; alone it implies custom", "",
       on_schedule},
      {"intelligent_remasking", &C::intelligent_remasking, anything, diffusion,
       "mask again what the model doubts, rather than at random", "", "remask"},
      {"randomness_strength", &C::randomness_strength, share, diffusion,
       "in choosing what to mask again: 0 is all model, 1 is all chance", "", "remask"},
      {"remasking_positive_class", &C::remasking_positive_class, Choices{"wrong", "correct"}, diffusion,
       "what class 1 of the remasking model means"},

      {"strategy", &C::strategy,
       Choices{"remask", "best", "confidence", "random", "margin", "entropy", "ancestral", "maskgit", "threshold",
               "factor", "entropy_bound", "klass", "remdm", "planner"},
       strategies, "how it is chosen what stays visible; remask is the guide's loop, best what measuring found"},
      {"forwards", &C::forwards, Range{1.0, 1e6}, strategies,
       "spend exactly so many forwards, in place of diffusion_iterations; not counted: one for the self-confidence"},
      {"block_length", &C::block_length, count_from(1), strategies,
       "fill blocks of so many positions, one after the other from the left; None: all at once"},
      {"confidence_source", &C::confidence_source, Choices{"rescore", "draw"}, strategies,
       "judge tokens by a second forward, or by the one that drew them; None: rescore for remask, else draw", "",
       judging},
      {"temperature_end", &C::temperature_end, Range{0.0, Range{}.high, true}, strategies,
       "temperature of the last step, to which the first's changes linearly"},
      {"cfg_scale", &C::cfg_scale, Range{0.0}, strategies, "guidance by the prompt, for two forwards each: 0 is none"},
      {"schedule_power", &C::schedule_power, Range{0.0, Range{}.high, true}, strategies,
       "of schedule_type='power': above 1, more is revealed early", "", comes_back},
      {"alg_temp", &C::alg_temp, Range{0.0}, strategies, "noise in ranking by certainty; 0: none", "",
       "confidence, margin, entropy"},
      {"choice_temperature", &C::choice_temperature, Range{0.0}, strategies,
       "noise on log confidence, annealed to none", "", "maskgit, best"},
      {"threshold", &C::threshold, share, strategies, "reveal what is at least so probable", "", "threshold"},
      {"factor", &C::factor, Range{0.0}, strategies, "reveal n while (n + 1) * (1 - confidence) stays below", "",
       "factor"},
      {"gamma", &C::gamma, Range{0.0}, strategies, "bound on the summed entropies of what is revealed, nats", "",
       "entropy_bound"},
      {"conf_threshold", &C::conf_threshold, share, strategies, "reveal what is at least so probable and stable", "",
       "klass"},
      {"kl_threshold", &C::kl_threshold, Range{0.0}, strategies,
       "stable: the distribution moves by less than this KL divergence, nats", "", "klass"},
      {"kl_history", &C::kl_history, count_from(1), strategies, "for so many steps in a row", "", "klass"},
      {"remdm", &C::remdm, Choices{"cap", "rescale", "conf", "loop"}, strategies,
       "how the chance to mask a visible token again is set", "", "remdm"},
      {"eta", &C::eta, Range{0.0}, strategies,
       "remdm: that chance's size, at most 1; planner: weight of kept tokens' doubt", "", "remdm, planner"},
      {"t_on", &C::t_on, share, strategies, "remdm=loop: the time, from 1 to 0, at which the loop begins", "", "remdm"},
      {"t_off", &C::t_off, share, strategies, "remdm=loop: the time at which it ends", "", "remdm"},
      {"alpha_on", &C::alpha_on, share, strategies, "remdm=loop: the share visible in it", "", "remdm"},
      {"prior_weight", &C::prior_weight, Range{0.0}, strategies,
       "how much a token's commonness counts against its confidence", "", "best"},
      {"rescored_share", &C::rescored_share, share, strategies,
       "share of the forwards, at the end, that judge what another drew", "", "best"},
      {"new_token_bonus", &C::new_token_bonus, Range{}, strategies, "nats in favour of tokens just drawn", "", "best"},

      {"std_temperature", &C::std_temperature, Range{0.0}, standard,
       "as temperature, which also sets it where this is not given"},
      {"top_k", &C::top_k, count_from(1), standard, "only this many of the likeliest tokens; None: all"},

      {"show_progress", &C::show_progress, anything, watching, "report progress on stderr"},
      {"use_verbose_logging", &C::use_verbose_logging, anything, watching, "show the first sample at every step"},
      {"log_debug", &C::log_debug, anything, watching, "show what the model thought at every step"},
      {"live", &C::live, anything, watching, "watch the text while it is written, where stderr is a terminal"},
      {"output", &C::output, anything, watching, "also write the samples to this file; .jsonl: one object a sample"},
      {"trace", &C::trace, anything, watching, "write what each step did to trace_samples to this .json file"},
      {"trace_samples", &C::trace_samples, count_from(0), watching,
       "indices of the samples that trace and report show; None: the first"},
      {"report", &C::report, anything, watching, "write a page to this .html file that plays trace_samples"},
      {"compare", &C::compare, anything, watching, "a trace that the report shows beside this run's"},

      {"prompts", &C::prompts, anything, scale,
       "file of prompts, .txt: one a line, .jsonl: one object a line; -: stdin. Each gets num_samples, by default 1"},
      {"on_error", &C::on_error, Choices{"stop", "skip"}, scale,
       "lines of prompts that cannot be used: refuse the file, or leave them out and exit with 4 at the end"},
      {"resume", &C::resume, anything, scale, "go on with the .jsonl output where it stops; what is there stays"},
      {"shard", &C::shard, anything, scale,
       "k/n: make part k, from 0, of n; auto: as torchrun, mpirun or srun say. {shard} in output is k"},
      {"merge", &C::merge, anything, scale, "put the files of shards, such as 'out-*.jsonl', together into output"},
  };
}

template <typename T>
bool read(const Literal& literal, T& out) {
  const T* value = std::get_if<T>(&literal.value);
  if (value != nullptr) {
    out = *value;
  }
  return value != nullptr;
}

// A whole number will do where a number is meant.
bool read(const Literal& literal, double& out) {
  int64_t whole = 0;
  if (read(literal, whole)) {
    out = static_cast<double>(whole);
    return true;
  }
  return read<double>(literal, out);
}

template <typename T>
bool read(const Literal& literal, std::vector<T>& out) {
  const auto* items = std::get_if<std::vector<Literal>>(&literal.value);
  if (items == nullptr || items->empty()) {
    return false;
  }
  out.resize(items->size());
  for (size_t i = 0; i < items->size(); ++i) {
    if (!read((*items)[i], out[i])) {
      return false;
    }
  }
  return true;
}

template <typename T>
bool read(const Literal& literal, std::optional<T>& out) {
  if (std::holds_alternative<std::monostate>(literal.value)) {
    out.reset();
    return true;
  }
  return read(literal, out.emplace());
}

bool permits(const Field&, bool) {
  return true;
}

bool permits(const Field& field, double number) {
  const auto* range = std::get_if<Range>(&field.rule);
  return range == nullptr || (number <= range->high && (range->above_low ? number > range->low : number >= range->low));
}

bool permits(const Field& field, int64_t number) {
  return permits(field, static_cast<double>(number));
}

bool permits(const Field& field, const std::string& text) {
  if (const auto* choices = std::get_if<Choices>(&field.rule)) {
    return std::find(choices->begin(), choices->end(), text) != choices->end();
  }
  const auto* form = std::get_if<Form>(&field.rule);
  return form == nullptr || form->matches(text);
}

template <typename T>
bool permits(const Field& field, const std::vector<T>& numbers) {
  return std::all_of(numbers.begin(), numbers.end(), [&field](T number) { return permits(field, number); });
}

template <typename T>
bool permits(const Field& field, const std::optional<T>& value) {
  return !value || permits(field, *value);
}

template <typename T>
Literal to_literal(const T& value) {
  return {value};
}

template <typename T>
Literal to_literal(const std::vector<T>& numbers) {
  std::vector<Literal> items(numbers.size());
  for (size_t i = 0; i < numbers.size(); ++i) {
    items[i].value = numbers[i];
  }
  return {std::move(items)};
}

template <typename T>
Literal to_literal(const std::optional<T>& value) {
  return value ? to_literal(*value) : Literal{};
}

std::string range_in_words(const Field& field) {
  const auto* range = std::get_if<Range>(&field.rule);
  if (range == nullptr) {
    return "";
  }
  const auto number = [](double bound) { return fmt::format("{:.0f}", bound); };
  const bool bounded = std::isfinite(range->high);
  if (range->above_low) {
    return " above " + number(range->low) + (bounded ? " and at most " + number(range->high) : "");
  }
  return bounded ? " from " + number(range->low) + " to " + number(range->high) : ", at least " + number(range->low);
}

std::string text_in_words(const Field& field) {
  if (const auto* form = std::get_if<Form>(&field.rule)) {
    return std::string(form->description);
  }
  const auto* choices = std::get_if<Choices>(&field.rule);
  if (choices == nullptr) {
    return "a text";
  }
  std::string words;
  for (size_t i = 0; i < choices->size(); ++i) {
    words += i == 0 ? "" : i + 1 == choices->size() ? " or " : ", ";
    words += fmt::format("'{}'", (*choices)[i]);
  }
  return words;
}

// The type and range of a key whose member points to a value of the second argument's type.
std::string in_words(const Field&, bool Config::*) {
  return "True or False";
}
std::string in_words(const Field& field, int64_t Config::*) {
  return "a whole number" + range_in_words(field);
}
std::string in_words(const Field& field, double Config::*) {
  return "a number" + range_in_words(field);
}
std::string in_words(const Field& field, std::string Config::*) {
  return text_in_words(field);
}
std::string in_words(const Field& field, std::optional<int64_t> Config::*) {
  return "a whole number" + range_in_words(field) + ", or None";
}
std::string in_words(const Field& field, std::optional<double> Config::*) {
  return "a number" + range_in_words(field) + ", or None";
}
std::string in_words(const Field& field, std::optional<std::string> Config::*) {
  return text_in_words(field) + ", or None";
}
std::string in_words(const Field& field, std::optional<std::vector<double>> Config::*) {
  return "a list of one or more numbers" + range_in_words(field) + " such as [0.9, 0.5, 0.1], or None";
}
std::string in_words(const Field& field, std::optional<std::vector<int64_t>> Config::*) {
  return "a list of one or more whole numbers" + range_in_words(field) + " such as [0, 3], or None";
}

template <typename T>
bool has_type(const Field& field) {
  return std::holds_alternative<T Config::*>(field.member);
}

// Levenshtein's: the fewest insertions, deletions and replacements that make one text the other.
size_t edit_distance(std::string_view left, std::string_view right) {
  std::vector<size_t> row(right.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < left.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < right.size(); ++j) {
      const size_t replaced = diagonal + (left[i] == right[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

const std::vector<Field>& fields() {
  static const std::vector<Field> table = make_fields();
  return table;
}

const Field* find_field(std::string_view name) {
  const auto named = [name](const Field& field) {
    return field.name == name || (field.alias == name && !name.empty());
  };
  const auto found = std::find_if(fields().begin(), fields().end(), named);
  return found == fields().end() ? nullptr : &*found;
}

std::string_view nearest_name(std::string_view misspelt) {
  const std::string_view compared = misspelt.substr(0, 100);
  const auto nearer = [compared](const Field& left, const Field& right) {
    return edit_distance(compared, left.name) < edit_distance(compared, right.name);
  };
  return std::min_element(fields().begin(), fields().end(), nearer)->name;
}

bool is_bool(const Field& field) {
  return has_type<bool>(field);
}

bool is_text(const Field& field) {
  return has_type<std::string>(field) || has_type<std::optional<std::string>>(field);
}

bool can_be_none(const Field& field) {
  return has_type<std::optional<int64_t>>(field) || has_type<std::optional<double>>(field) ||
         has_type<std::optional<std::string>>(field) || has_type<std::optional<std::vector<double>>>(field) ||
         has_type<std::optional<std::vector<int64_t>>>(field);
}

std::string allowed_values(const Field& field) {
  return std::visit([&field](auto member) { return in_words(field, member); }, field.member);
}

Literal value_of(const Field& field, const Config& config) {
  return std::visit([&config](auto member) { return to_literal(config.*member); }, field.member);
}

bool assign(const Field& field, const Literal& value, ParsedConfig& parsed) {
  const auto set_member = [&](auto member) {
    std::decay_t<decltype(parsed.config.*member)> candidate{};
    if (!read(value, candidate) || !permits(field, candidate)) {
      return false;
    }
    parsed.config.*member = std::move(candidate);
    parsed.given.emplace(field.name);
    return true;
  };
  return std::visit(set_member, field.member);
}

namespace {

bool takes(std::string_view strategies_in_words, std::string_view strategy) {
  for (size_t start = 0; start < strategies_in_words.size();) {
    const size_t end = std::min(strategies_in_words.find(", ", start), strategies_in_words.size());
    if (strategies_in_words.substr(start, end - start) == strategy) {
      return true;
    }
    start = end + 2;
  }
  return false;
}

// A key left at its default harms nobody, wherever it was written: a printed configuration has them all.
bool differs_from_default(const Field& field, const Config& config) {
  return !(value_of(field, config) == value_of(field, Config{}));
}

void check_strategy_takes_what_is_given(const ParsedConfig& parsed) {
  const Config& config = parsed.config;
  for (const Field& field : fields()) {
    if (!differs_from_default(field, config) || parsed.given.count(std::string(field.name)) == 0) {
      continue;
    }
    if (config.sampling_method == "standard" && field.group == strategies) {
      fail(ExitCode::bad_usage, "{} belongs to sampling_method='diffusion': standard sampling has no strategies.",
           field.name);
    }
    if (config.sampling_method == "diffusion" && !field.strategies.empty() &&
        !takes(field.strategies, config.strategy)) {
      fail(ExitCode::bad_usage, "{} is not for strategy='{}': it is taken by {}.", field.name, config.strategy,
           field.strategies);
    }
  }
}

// The strategies' own defaults, as their papers or their authors' code have them; those of `best` were measured (see
// docs/strategies.md).
void set_defaults(ParsedConfig& parsed) {
  Config& config = parsed.config;
  const auto given = [&parsed](const char* key) { return parsed.given.count(key) > 0; };
  const auto unless_given = [](auto& value, auto own) { value = value ? *value : own; };
  const auto schedule_unless_given = [&](const char* own) {
    config.schedule_type = given("schedule_type") || config.masking_ratios ? config.schedule_type : own;
  };
  const std::string& strategy = config.strategy;
  if (takes(find_field("alg_temp")->strategies, strategy)) {
    unless_given(config.alg_temp, 0.0);
  } else if (strategy == "maskgit") {
    unless_given(config.choice_temperature, 4.5);
    schedule_unless_given("cosine");
  } else if (strategy == "threshold") {
    unless_given(config.threshold, 0.9);
  } else if (strategy == "factor") {
    unless_given(config.factor, 1.0);
  } else if (strategy == "entropy_bound") {
    unless_given(config.gamma, 0.1);
  } else if (strategy == "klass") {
    unless_given(config.conf_threshold, 0.9);
    unless_given(config.kl_threshold, 0.01);
    unless_given(config.kl_history, int64_t{2});
  } else if (strategy == "remdm") {
    unless_given(config.remdm, std::string("cap"));
    unless_given(config.eta, *config.remdm == "cap"       ? 0.04
                             : *config.remdm == "rescale" ? 0.05
                             : *config.remdm == "loop"    ? 0.02
                                                          : 1.0);
    if (*config.remdm == "loop") {
      unless_given(config.t_on, 0.55);
      unless_given(config.t_off, 0.05);
      unless_given(config.alpha_on, 0.9);
    }
  } else if (strategy == "planner") {
    unless_given(config.eta, 1.0);
  } else if (strategy == "best") {
    schedule_unless_given("power");
    config.end_ratio = given("end_ratio") ? config.end_ratio : 0.08;
    config.temperature = given("temperature") ? config.temperature : 1.2;
    unless_given(config.prior_weight, 0.8);
    unless_given(config.new_token_bonus, 0.6);
    if (!config.confidence_source) {
      unless_given(config.rescored_share, 0.06);
    }
    unless_given(config.choice_temperature, 2.4);
    if (config.temperature > 0) {
      unless_given(config.temperature_end, config.temperature / 4);
    }
  }
  if (config.schedule_type == "power" && takes(find_field("schedule_power")->strategies, strategy)) {
    unless_given(config.schedule_power, 2.0);
  }
}

void check_strategy(const Config& config) {
  if (config.schedule_power && config.schedule_type != "power") {
    fail(ExitCode::bad_usage, "schedule_power needs schedule_type='power', not '{}'.", config.schedule_type);
  }
  if (config.schedule_type == "power" && !config.schedule_power) {
    fail(ExitCode::bad_usage, "schedule_type='power' is not for strategy='{}': it is taken by {}.", config.strategy,
         find_field("schedule_power")->strategies);
  }
  if (config.temperature_end && config.temperature == 0) {
    fail(ExitCode::bad_usage, "temperature_end={} needs a temperature above 0 to start from; temperature=0 is greedy.",
         *config.temperature_end);
  }
  if (config.remdm) {
    if (*config.eta > 1) {
      fail(ExitCode::bad_usage, "eta={}: for strategy='remdm' it must be from 0 to 1.", *config.eta);
    }
    const bool loops = *config.remdm == "loop";
    if (!loops && (config.t_on || config.t_off || config.alpha_on)) {
      fail(ExitCode::bad_usage, "t_on, t_off and alpha_on need remdm='loop', not '{}'.", *config.remdm);
    }
    if (loops && config.schedule_type != "linear") {
      fail(ExitCode::bad_usage, "remdm='loop' has a schedule of its own: leave schedule_type='linear', not '{}'.",
           config.schedule_type);
    }
    if (loops && !(*config.t_off < *config.t_on && *config.t_on < 1 && *config.t_off > 0)) {
      fail(ExitCode::bad_usage, "t_on={}, t_off={}: time runs from 1 to 0, so 0 < t_off < t_on < 1.", *config.t_on,
           *config.t_off);
    }
    if (loops && (*config.alpha_on <= 0 || *config.alpha_on >= 1)) {
      fail(ExitCode::bad_usage, "alpha_on={}: must be above 0 and below 1.", *config.alpha_on);
    }
  }
  if (config.confidence_source && config.remasking_checkpoint_name) {
    fail(ExitCode::bad_usage,
         "confidence_source='{}' and remasking_checkpoint_name exclude each other: the remasking model judges.",
         *config.confidence_source);
  }
  if (config.confidence_source && config.rescored_share) {
    fail(ExitCode::bad_usage, "confidence_source='{}' and rescored_share={} exclude each other: give one of them.",
         *config.confidence_source, *config.rescored_share);
  }
  if (config.confidence_source && config.strategy == "remask" && !config.intelligent_remasking) {
    fail(ExitCode::bad_usage,
         "confidence_source='{}' has no use with intelligent_remasking=False, which masks again at random.",
         *config.confidence_source);
  }
  if (config.forwards && config.masking_ratios) {
    fail(ExitCode::bad_usage, "forwards={} and masking_ratios exclude each other: the list says how many iterations.",
         *config.forwards);
  }
}

void settle_strategy(ParsedConfig& parsed) {
  check_strategy_takes_what_is_given(parsed);
  if (parsed.config.sampling_method == "diffusion") {
    set_defaults(parsed);
    check_strategy(parsed.config);
  }
}

bool is_json_lines(const std::optional<std::string>& output) {
  constexpr std::string_view ending = ".jsonl";
  return output && output->size() >= ending.size() &&
         output->compare(output->size() - ending.size(), ending.size(), ending) == 0;
}

void check_live(const Config& config) {
  if (config.live && (config.use_verbose_logging || config.log_debug)) {
    fail(ExitCode::bad_usage, "live=True and {}=True exclude each other: both would have the terminal. Leave one out.",
         config.use_verbose_logging ? "use_verbose_logging" : "log_debug");
  }
}

void settle_scale(ParsedConfig& parsed) {
  Config& config = parsed.config;
  if (config.merge && !config.output) {
    fail(ExitCode::bad_usage, "merge='{}' needs an output to write to: --output=FILE.jsonl.", *config.merge);
  }
  if (config.resume && !is_json_lines(config.output)) {
    fail(ExitCode::bad_usage, "resume=True goes on with JSON lines: it needs an --output that ends in .jsonl{}.",
         config.output ? fmt::format(", and '{}' does not", *config.output) : "");
  }
  if (config.on_error == "skip" && !config.prompts) {
    fail(ExitCode::bad_usage, "on_error='skip' is for lines of --prompts, which is not given.");
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
  if (parsed.given.count("num_samples") == 0) {
    config.num_samples = 1;
  }
}

void check_watching(const Config& config) {
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
  const auto given = [&parsed](const char* key) { return parsed.given.count(key) > 0; };

  if (config.masking_ratios && !given("schedule_type")) {
    config.schedule_type = "custom";
  }
  if (config.masking_ratios && config.schedule_type != "custom") {
    fail(ExitCode::bad_usage,
         "schedule_type='{}' contradicts masking_ratios: set schedule_type='custom', or masking_ratios=None",
         config.schedule_type);
  }
  if (!config.masking_ratios && config.schedule_type == "custom") {
    fail(ExitCode::bad_usage,
         "schedule_type='custom' takes its steps from masking_ratios, which is not set: give one such as "
         "--masking_ratios=\"[0.9, 0.5, 0.1]\"");
  }
  if (config.sampling_method == "standard" && given("temperature") && !given("std_temperature")) {
    config.std_temperature = config.temperature;
  }
  check_live(config);
  settle_scale(parsed);
  check_watching(config);
  settle_strategy(parsed);
}

std::string print_config(const Config& config) {
  std::string lines;
  std::string_view group;
  for (const Field& field : fields()) {
    if (field.group != group) {
      lines += fmt::format("{}# {}\n", lines.empty() ? "" : "\n", field.group);
      group = field.group;
    }
    lines += fmt::format("{} = {}\n", field.name, to_source(value_of(field, config)));
  }
  return lines;
}

}  // namespace demask

#include "config/fields.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <limits>
#include <utility>

#include "config/devices.h"
#include "config/strategy_fields.h"
#include "core/utf8.h"
#include "sampling/strategies/strategy.h"

namespace demask {

const std::string_view strategies_group = "Strategies of diffusion; None is each one's own default";

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

constexpr std::string_view checkpoints = "Checkpoints and vocabulary";
constexpr std::string_view samples = "Samples and their text";
constexpr std::string_view running = "Randomness, device and precision";
constexpr std::string_view drawing = "Drawing tokens";
constexpr std::string_view diffusion = "Diffusion";
constexpr std::string_view standard = "Standard sampling";
constexpr std::string_view scoring = "How likely texts are";
constexpr std::string_view watching = "Output and watching it work";
constexpr std::string_view scale = "Many prompts, many machines, long runs";

// Even an empty one.
bool is_any_text(const std::string& /*text*/) {
  return true;
}

bool is_some_text(const std::string& text) {
  return !text.empty();
}

bool is_resume(const std::string& text) {
  return text == "resume";
}

bool is_device(const std::string& text) {
  return text == "auto" || text == "cpu" || text == "cuda" || numbered_devices(text);
}

template <typename Enumeration>
Choices choices() {
  constexpr auto& names = names_of<Enumeration>;
  return {names.begin(), names.end()};
}

Choices strategy_names() {
  return names_where([](const Strategy&) { return true; });
}

std::string judged_twice() {
  return fmt::format(
      "{}", fmt::join(names_where([](const Strategy& strategy) { return strategy.judge == ConfidenceSource::rescore; }),
                      ", "));
}

std::vector<Field> model_fields() {
  using C = Config;
  using D = DiffusionSettings;
  return {
      {"sampling_method", member<&C::sampling_method>(), choices<SamplingMethod>(), checkpoints, Role::text,
       "demask a whole text step by step, or write it left to right"},
      {"init_from", member<&C::init_from>(),
       Form{"'resume', the only source: demask samples from existing checkpoints", is_resume}, checkpoints, Role::place,
       "where the model comes from"},
      {"out_dir", member<&C::out_dir>(), {}, checkpoints, Role::place, "folder of the checkpoints"},
      {"checkpoint_name",
       member<&C::checkpoint_name>(),
       {},
       checkpoints,
       Role::place,
       "file or model folder in out_dir, or an absolute path; None: diffusion.pt or standard.pt"},
      {"remasking_checkpoint_name",
       member<&C::diffusion, &D::remasking_checkpoint_name>(),
       {},
       checkpoints,
       Role::place,
       "model in out_dir that says which tokens to mask again",
       "",
       &Strategy::takes_remasking_model},
      {"data_dir", member<&C::data_dir>(), {}, checkpoints, Role::place, "folder of the datasets"},
      {"dataset",
       member<&C::dataset>(),
       {},
       checkpoints,
       Role::place,
       "its folder in data_dir holds the vocabulary; None: as the checkpoint says"},
      {"meta_path",
       member<&C::meta_path>(),
       {},
       checkpoints,
       Role::place,
       "vocabulary file or folder, in place of the model's own and the dataset's"},
      {"mask_token_id", member<&C::mask_token_id>(), Range{0.0, largest_count}, checkpoints, Role::text,
       "id of the mask token; None: as the model or the vocabulary says"},
      {"export",
       member<&C::export_folder>(),
       {},
       checkpoints,
       Role::cut,
       "write the model to this new folder, as config.json, safetensors and vocabulary, and draw nothing"},
      {"inspect",
       member<&C::inspect>(),
       {},
       checkpoints,
       Role::cut,
       "say what this checkpoint, model folder, vocabulary, run file or trace is, and draw nothing"},
      {"inspect_format", member<&C::inspect_format>(), choices<InspectFormat>(), checkpoints, Role::cut,
       "how inspect says it"},
  };
}

std::vector<Field> sample_fields() {
  using C = Config;
  return {
      {"num_samples", member<&C::num_samples>(), count_from(1), samples, Role::which, "how many samples"},
      {"first_sample", member<&C::first_sample>(), count_from(0), samples, Role::which,
       "index of the first, to split or continue a run"},
      {"batch_size", member<&C::batch_size>(), count_from(1), samples, Role::cut,
       "samples at a time; None: as many as fit"},
      {"sequence_length", member<&C::sequence_length>(), count_from(1), samples, Role::text,
       "diffusion: length in tokens, at most the model's block size"},
      {"max_new_tokens", member<&C::max_new_tokens>(), count_from(1), samples, Role::text,
       "standard: tokens to add to the prompt"},
      {"start_text", member<&C::start_text>(), Form{"a text", is_any_text}, samples, Role::text,
       "prompt, or FILE:path; in diffusion a fixed prefix", "start"},
      {"infill_text", member<&C::infill_text>(), Form{"a text", is_any_text}, samples, Role::text,
       "diffusion: template, or FILE:path; each mask_char is filled in"},
      {"mask_char", member<&C::mask_char>(),
       Form{"a single character", [](const std::string& text) { return is_one_character(text); }}, samples, Role::text,
       "the character of infill_text that marks a position to fill"},
      {"pattern", member<&C::pattern>(), Form{"a regular expression", is_some_text}, samples, Role::text,
       "regular expression that the whole text matches, prompt and template included, or FILE:path"},
      {"words", member<&C::words>(), Form{"a path", is_some_text}, samples, Role::text,
       "a list of words, one a line: every run of letters in the text is one of them"},
      {"gap_char", member<&C::gap_char>(),
       Form{"a single character", [](const std::string& text) { return is_one_character(text); }}, samples, Role::text,
       "the character of infill_text that marks a gap, of as many tokens as the model finds likely"},
      {"gap_min", member<&C::gap_min>(), count_from(1), samples, Role::text, "tokens of a gap, at least"},
      {"gap_max", member<&C::gap_max>(), count_from(1), samples, Role::text, "tokens of a gap, at most"},
      {"unknown_chars", member<&C::unknown_chars>(), choices<UnknownChars>(), samples, Role::text,
       "prompt characters outside the vocabulary: refuse or drop them"},
      {"parse_special",
       member<&C::parse_special>(),
       {},
       samples,
       Role::text,
       "read the text of special tokens, such as <|endoftext|>, in prompts as these tokens"},
      {"stop_at_end",
       member<&C::stop_at_end>(),
       {},
       samples,
       Role::text,
       "leave out of a sample's text its first end-of-text token and what follows, which is drawn nevertheless; None: "
       "where "
       "the vocabulary has pieces and such a token"},
  };
}

std::vector<Field> device_fields() {
  using C = Config;
  return {
      {"seed", member<&C::seed>(), Range{-1.0}, running, Role::which,
       "same seed, same text; -1 draws one and prints it"},
      {"device", member<&C::device>(),
       Form{"'auto', 'cpu', 'cuda', 'cuda:N' or several as in 'cuda:0,1', N from 0 to 99", is_device}, running,
       Role::which, "where to run; auto: CUDA if there is any; both it and cuda: every GPU of the first's kind"},
      {"dtype", member<&C::dtype>(), choices<Precision>(), running, Role::which,
       "precision; auto: bfloat16 where the device multiplies in it, else float16 on CUDA, float32 on the CPU; int8: "
       "products on the CPU, for speed and memory"},
      {"compile", member<&C::compile>(), {}, running, Role::text, "spend start-up time to run faster"},
      {"batch_invariant",
       member<&C::batch_invariant>(),
       {},
       running,
       Role::text,
       "on CUDA a sample is the same bits in any batch; False: in large ones some shapes run faster"},
  };
}

std::vector<Field> drawing_fields() {
  using C = Config;
  using D = DiffusionSettings;
  return {
      {"temperature", member<&C::diffusion, &D::temperature>(), Range{0.0}, drawing, Role::text,
       "diffusion: lower is safer, 0 takes the likeliest token"},
      {"top_p", member<&C::top_p>(), Range{0.0, 1.0, true}, drawing, Role::text,
       "nucleus: only the likeliest tokens that reach this probability"},
      {"repetition_penalty", member<&C::repetition_penalty>(), Range{0.0, infinity, true}, drawing, Role::text,
       "above 1 discourages tokens seen shortly before"},
      {"repetition_window", member<&C::repetition_window>(), count_from(0), drawing, Role::text,
       "how many positions before count as shortly"},
  };
}

std::vector<Field> diffusion_fields() {
  using C = Config;
  using D = DiffusionSettings;
  return {
      {"diffusion_iterations", member<&C::diffusion, &D::diffusion_iterations>(), count_from(1), diffusion, Role::text,
       "steps of the linear schedule"},
      {"start_ratio", member<&C::diffusion, &D::start_ratio>(), share, diffusion, Role::text,
       "share of the text masked at its start", "", &Strategy::has_ratios},
      {"end_ratio", member<&C::diffusion, &D::end_ratio>(), share, diffusion, Role::text,
       "share of the text masked at its end", "", &Strategy::has_ratios},
      {"schedule_type", member<&C::diffusion, &D::schedule_type>(), choices<ScheduleType>(), diffusion, Role::text,
       "how the masked share falls; custom takes its steps from masking_ratios, dream is that of Dream's timesteps", "",
       &Strategy::takes_schedule},
      {"masking_ratios", member<&C::diffusion, &D::masking_ratios>(), share, diffusion, Role::text,
       "share masked at each step; alone it implies custom", "", &Strategy::takes_schedule},
  };
}

std::vector<Field> strategy_fields() {
  using C = Config;
  using D = DiffusionSettings;
  return {
      {"remasking_positive_class", member<&C::diffusion, &D::remasking_positive_class>(), choices<PositiveClass>(),
       diffusion, Role::text, "what class 1 of the remasking model means"},

      {"strategy", member<&C::diffusion, &D::strategy>(), strategy_names(), strategies_group, Role::text,
       "how it is chosen what stays visible; remask is the guide's loop, best what measuring found"},
      {"forwards", member<&C::diffusion, &D::forwards>(), Range{1.0, 1e6}, strategies_group, Role::text,
       "spend exactly so many forwards, in place of diffusion_iterations; not counted: one for the self-confidence"},
      {"block_length", member<&C::diffusion, &D::block_length>(), count_from(1), strategies_group, Role::text,
       "fill blocks of so many positions, one after the other from the left; None: all at once"},
      {"cache", member<&C::diffusion, &D::cache>(), choices<CacheKind>(), strategies_group, Role::text,
       "with block_length: keep keys and values while a block is filled, of what is before it (prefix) or of all "
       "outside "
       "of it (dual); faster, and the text is another"},
      {"confidence_source", member<&C::diffusion, &D::confidence_source>(), choices<ConfidenceSource>(),
       strategies_group, Role::text,
       "judge tokens by a second forward, by the one that drew them, or by its distribution as temperature, top_k and "
       "top_p leave it; None: rescore for " +
           judged_twice() + ", else draw",
       "", &Strategy::ranks_by_confidence},
      {"temperature_end", member<&C::diffusion, &D::temperature_end>(), Range{0.0, infinity, true}, strategies_group,
       Role::text, "temperature of the last step, to which the first's changes linearly"},
      {"cfg_scale", member<&C::diffusion, &D::cfg_scale>(), Range{0.0, 1e6}, strategies_group, Role::text,
       "guidance by the prompt, for two forwards each: 0 is none"},
      {"schedule_power", member<&C::diffusion, &D::schedule_power>(), Range{0.0, infinity, true}, strategies_group,
       Role::text, "of schedule_type='power': above 1, more is revealed early", "", &Strategy::has_ratios},
  };
}

std::vector<Field> standard_fields() {
  using C = Config;
  return {
      {"std_temperature", member<&C::std_temperature>(), Range{0.0}, standard, Role::text,
       "as temperature, which also sets it where this is not given"},
      {"top_k", member<&C::top_k>(), count_from(1), standard, Role::text,
       "only this many of the likeliest tokens; None: all, which is the default of diffusion"},
  };
}

std::vector<Field> watching_fields() {
  using C = Config;
  return {
      {"show_progress", member<&C::show_progress>(), {}, watching, Role::shown, "report progress on stderr"},
      {"use_verbose_logging",
       member<&C::use_verbose_logging>(),
       {},
       watching,
       Role::shown,
       "show the first sample at every step"},
      {"log_debug", member<&C::log_debug>(), {}, watching, Role::shown, "show what the model thought at every step"},
      {"live",
       member<&C::live>(),
       {},
       watching,
       Role::shown,
       "watch the text while it is written, where stderr is a terminal"},
      {"output",
       member<&C::output>(),
       {},
       watching,
       Role::shown,
       "also write the samples to this file; .jsonl: one object a sample; -: these objects on stdout, and no text"},
      {"trace",
       member<&C::trace>(),
       {},
       watching,
       Role::shown,
       "write what each step did to trace_samples to this .json file"},
      {"trace_samples", member<&C::trace_samples>(), count_from(0), watching, Role::shown,
       "indices of the samples that trace and report show; None: the first"},
      {"report",
       member<&C::report>(),
       {},
       watching,
       Role::shown,
       "write a page to this .html file that plays trace_samples"},
      {"compare", member<&C::compare>(), {}, watching, Role::shown, "a trace that the report shows beside this run's"},
  };
}

std::vector<Field> scoring_fields() {
  using C = Config;
  return {
      {"score",
       member<&C::score>(),
       {},
       scoring,
       Role::which,
       "score the texts of this file and draw nothing, .txt: one a line, .jsonl: one object a line; -: stdin"},
      {"score_method", member<&C::score_method>(), choices<ScoreMethod>(), scoring, Role::text,
       "exact: left to right; bound: of masked diffusion; pseudo: each token masked alone; auto: exact or bound, by "
       "the "
       "model"},
      {"score_draws", member<&C::score_draws>(), Range{1.0, static_cast<double>(most_score_draws)}, scoring, Role::text,
       "how many times a bound masks a text at random"},
      {"score_tokens", member<&C::score_tokens>(), {}, scoring, Role::text, "give each token's log-likelihood too"},
      {"best_of", member<&C::best_of>(), Range{1.0, static_cast<double>(most_candidates)}, scoring, Role::text,
       "draw so many for each sample and keep the likeliest, by score_method"},
  };
}

std::vector<Field> scale_fields() {
  using C = Config;
  return {
      {"prompts",
       member<&C::prompts>(),
       {},
       scale,
       Role::which,
       "file of prompts, .txt: one a line, .jsonl: one object a line; -: stdin. Each gets num_samples, by default 1. "
       "Pipes are read as they come"},
      {"on_error", member<&C::on_error>(), choices<OnError>(), scale, Role::which,
       "lines of prompts or score that cannot be used: refuse the file, or leave them out and exit with 4 at the end"},
      {"order", member<&C::order>(), choices<Order>(), scale, Role::shown,
       "write samples in the order of the list, or each as soon as it is done"},
      {"batch_wait_ms", member<&C::batch_wait_ms>(), Range{0.0, 60000.0}, scale, Role::cut,
       "milliseconds that a line from a pipe waits at most for others to be drawn with"},
      {"resume",
       member<&C::resume>(),
       {},
       scale,
       Role::cut,
       "go on with the .jsonl output where it stops; what is there stays"},
      {"shard",
       member<&C::shard>(),
       {},
       scale,
       Role::cut,
       "k/n: make part k, from 0, of n; auto: as torchrun, mpirun or srun say. {shard} in output is k"},
      {"merge",
       member<&C::merge>(),
       {},
       scale,
       Role::cut,
       "put the files of shards, such as 'out-*.jsonl', together into output"},
  };
}

std::vector<Field> make_fields() {
  std::vector<Field> table;
  for (std::vector<Field>& group :
       std::array{model_fields(), sample_fields(), device_fields(), drawing_fields(), diffusion_fields(),
                  parameter_fields(diffusion, /*in_every_configuration=*/true), strategy_fields(),
                  parameter_fields(strategies_group, /*in_every_configuration=*/false), standard_fields(),
                  watching_fields(), scoring_fields(), scale_fields()}) {
    std::move(group.begin(), group.end(), std::back_inserter(table));
  }
  for (Field& field : table) {
    if (field.taken_by) {
      field.strategies = fmt::format("{}", fmt::join(names_where(field.taken_by), ", "));
    }
  }
  return table;
}

}  // namespace

bool is_setting_of_a_run(Role role) {
  return role == Role::text || role == Role::place;
}

bool is_needed_for_the_samples(Role role) {
  return is_setting_of_a_run(role) || role == Role::which;
}

const std::vector<Field>& fields() {
  static const std::vector<Field> table = make_fields();
  return table;
}

}  // namespace demask

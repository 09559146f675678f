// Strategy `best`: the recipe that measuring found (docs/strategies.md). One forward a step, and a second one in some
// of the last steps (rescored_share), or with confidence_source=rescore in all but the last.
#include <algorithm>
#include <cmath>

#include "sampling/diffusion_settings.h"

namespace demask {
namespace {

// How many times the usual forwards there are. In blocks never more than once, for those of a block are not known here.
double times_usual(const DiffusionSettings& settings) {
  const double times = static_cast<double>(settings.forwards.value_or(settings.diffusion_iterations)) / usual_forwards;
  return settings.block_length ? std::min(1.0, times) : times;
}

}  // namespace
}  // namespace demask

#ifndef DEMASK_POLICIES
#include "core/error.h"
#include "sampling/strategies/descriptions.h"

namespace demask {
namespace {

std::optional<ParameterValue> without_source(const DiffusionSettings& settings, const ParameterValue& usual) {
  return settings.confidence_source ? std::nullopt : std::optional(usual);
}

double in_hundredths(double value) {
  return std::round(100 * value) / 100;
}

// What is chosen from many draws may be drawn hot where the model leaves a choice. In fewer than 32 forwards a position
// is drawn less often, although each step draws all that is masked: more stays masked for longer, and draws are cooler.
void set_best(DiffusionSettings& settings, const Given& given) {
  const double times = std::min(1.0, times_usual(settings));
  settings.end_ratio = given("end_ratio") ? settings.end_ratio : 0.02;
  settings.temperature = given("temperature") ? settings.temperature : in_hundredths(2.2 * std::pow(times, 0.2));
  if (settings.temperature > 0 && !settings.temperature_end) {
    settings.temperature_end = 0.22 * settings.temperature;
  }
  if (settings.schedule_type == ScheduleType::power && !settings.schedule_power) {
    settings.schedule_power = in_hundredths(2.6 * std::sqrt(times));
  }
}

// Cooler draws take common tokens more often.
std::optional<ParameterValue> more_where_draws_are_cooler(const DiffusionSettings& settings,
                                                          const ParameterValue& usual) {
  return in_hundredths(std::get<double>(usual) * std::pow(std::min(1.0, times_usual(settings)), -0.15));
}

// In fewer forwards a new token has fewer of them to be understood by its neighbours, and in more it stands against
// tokens that won more often.
std::optional<ParameterValue> least_at_usual_forwards(const DiffusionSettings& settings, const ParameterValue& usual) {
  const double times = times_usual(settings);
  return in_hundredths(std::get<double>(usual) * std::pow(times, times < 1 ? -0.4 : 0.1));
}

// Fewer forwards draw more pieces of a word at once, which do not know of each other. More choose less by doubt and
// more by noise, so that a word has to stand or fall as one.
std::optional<ParameterValue> least_share_at_usual_forwards(const DiffusionSettings& settings,
                                                            const ParameterValue& usual) {
  const double times = times_usual(settings), share = std::get<double>(usual);
  return in_hundredths(times < 1 ? std::min(1.0, share * std::pow(times, -0.75)) : 1 - (1 - share) / times);
}

// Letters of a word stand or fall as one the more, the more forwards there are to spell it again. With 32 or fewer too
// many words would be spelt by the last forwards, which draw letters that do not know of each other.
ParameterValue share_above_usual_forwards(const DiffusionSettings& settings, const ParameterValue& usual,
                                          double power) {
  const double times = std::max(1.0, times_usual(settings));
  return in_hundredths(std::get<double>(usual) * (1 - std::pow(times, -power)));
}

std::optional<ParameterValue> letter_doubt_for(const DiffusionSettings& settings, const ParameterValue& usual) {
  return share_above_usual_forwards(settings, usual, /*power=*/1);
}

// In fewer forwards a little common noise spells better already: this share of it, were there none.
constexpr double least_letter_noise = 0.3;
std::optional<ParameterValue> letter_noise_for(const DiffusionSettings& settings, const ParameterValue& usual) {
  const double times = times_usual(settings);
  return times < 1 ? in_hundredths(std::get<double>(usual) * least_letter_noise * (1 - times))
                   : share_above_usual_forwards(settings, usual, /*power=*/2);
}

void check_best(const DiffusionSettings& settings) {
  if (settings.confidence_source && settings.parameters.has("rescored_share")) {
    fail(ExitCode::bad_usage, "confidence_source='{}' and rescored_share={} exclude each other: give one of them.",
         name_of(*settings.confidence_source), settings.parameters.number("rescored_share"));
  }
}

}  // namespace

Strategy best_strategy() {
  Strategy strategy;
  strategy.name = "best";
  strategy.summary =
      "masks again the least probable tokens, kept ones included, common ones counting for less, and holds back what "
      "the text has too much of; doubts a word's pieces, and in many forwards its letters, together; draws the colder "
      "the surer the model is of a position; more forwards draw fewer positions each and choose by more noise";
  strategy.forwards = "1.06 N";
  strategy.source =
      "docs/strategies.md. PC-Sampler (Huang et al. 2025) weighs confidence by a corpus's frequencies to the same end; "
      "annealed noise on log confidence is MaskGIT's (Chang et al. 2022)";
  strategy.pacing = Pacing::remasks_some;
  strategy.has_ratios = true;
  strategy.ranks_by_confidence = true;
  strategy.schedule = ScheduleType::power;
  strategy.parameters = {
      choice_temperature_parameter(0.75),
      {"prior_weight",
       0.9,
       Range{0.0},
       "how much a token's commonness counts against its confidence, more in fewer forwards than 32",
       {},
       more_where_draws_are_cooler},
      {"rescored_share", 0.0625, share, "share of the forwards, at the end, that judge what another drew",
       "rescored share", without_source},
      {"new_token_bonus",
       1.0,
       {},
       "nats in favour of tokens just drawn, more in fewer forwards than 32, a little more in more",
       {},
       least_at_usual_forwards},
      {"redraws", 8.5, Range{0.0}, "how often a position is drawn in 32 steps, less often in more; 0: in each step"},
      {"count_penalty", 2.8, Range{0.0}, "nats against a token that the text has e times as often as expected"},
      {"excess_penalty", 0.6, Range{0.0}, "nats for each standard deviation of its count above two"},
      {"noise_power", 1.0, Range{0.0}, "the noise falls as this power of what is left"},
      {"temperature_power", 1.5, Range{0.0}, "the temperature falls as this power of what is left"},
      {"entropy_power", 1.0, Range{0.0}, "and from position to position as this power of its entropy; 0: not at all"},
      {"vocabulary_power", 0.28, Range{0.0},
       "and for tokens of more entropy than letters as this power of that, higher where forwards are many; 0: not at "
       "all"},
      {"vocabulary_noise", 1.74, Range{0.0}, "the noise grows for such tokens as this power of that; 0: not at all"},
      {"word_doubt",
       0.3,
       share,
       "share of a piece's doubt that is the largest of its word's pieces, more in fewer forwards than 32 and in more; "
       "0: its own alone",
       {},
       least_share_at_usual_forwards},
      {"letter_doubt",
       1.0,
       share,
       "share of a letter's doubt that is the largest of its word's letters, none in 32 forwards or fewer and nearing "
       "this in more; the noise grows with it, and letters are drawn hottest where it is a half",
       {},
       letter_doubt_for},
      {"letter_noise",
       1.0,
       share,
       "share of a letter's noise that is the lowest of its word's letters, little in fewer forwards than 32, none in "
       "32 and nearing this in more",
       {},
       letter_noise_for}};
  strategy.variants = {
      {"best", {}},
      {"remask-draw-log",
       {"--schedule_type=linear", "--end_ratio=0.05", "--temperature=0.8", "--temperature_end=0.8", "--prior_weight=0",
        "--new_token_bonus=0", "--choice_temperature=3", "--noise_power=2", "--redraws=0", "--count_penalty=0",
        "--excess_penalty=0", "--rescored_share=0.06", "--entropy_power=0", "--vocabulary_power=0",
        "--vocabulary_noise=0", "--word_doubt=0", "--letter_doubt=0", "--letter_noise=0"}}};
  strategy.set_shared = set_best;
  strategy.check = check_best;
  return strategy;
}

}  // namespace demask

#else
#include <ATen/ATen.h>

#include "kernels/cuda.h"
#include "sampling/confidence.h"
#include "sampling/doubt.h"
#include "sampling/reveal_policy.h"
#include "sampling/strategies/strategy.h"

namespace demask {
namespace {

// What is rarer than this share of an even distribution gains nothing more by its rarity.
constexpr double least_share = 0.01;
// Nor does what is all but certain from the start count for more than so many times its doubt.
constexpr double most_weight = 4;

constexpr double least_entropy = 1e-6;  // nats, so that a share of it is a number
// Letters, of which English has 3.3 (tiny Shakespeare 3.34), never have more before there is any text.
constexpr double entropy_of_letters = 3.5;  // nats
// From twice the usual forwards to eight times, draws of pieces cool, and how fast. Otherwise texts gain new words
// faster than right ones; beyond that they would lose them.
constexpr double cooling_from = 2, cooling_to = 8;
constexpr double cooling_growth = 0.5;
// How much more noise there is where letters of a word are doubted as one, most of it from little of that on. The
// lowest of several noises spreads less than one of them, and the highest of several doubts is higher.
constexpr double noise_of_letters = 0.44, noise_of_letters_growth = 0.1;
// How much hotter letters are drawn where half of their doubt is their word's, which is so in 64 forwards: there, texts
// have the least entropy.
constexpr double heat_of_letters = 0.09;

struct Options {
  double prior_weight = 0;                   // w
  double entropy_power = 0;                  // h
  double vocabulary_power = 0;               // v
  double vocabulary_noise = 0;               // s
  double times_usual = 1;                    // N / 32
  kernels::DoubtRule of_pieces, of_letters;  // m is word_share, q noise_share, n new_token_bonus, c choice_temperature
  kernels::ExcessRule excess;                // a is by_count, b is by_deviation
};

// Masks again the most doubtful of all free positions:
//   (-log p) * (H0 / -log p0)^w - n * [just drawn] - c * sqrt(g^2 + (H0 / 3.5)^2s - 1) * what is left * Gumbel noise,
// where p is the model's untempered probability of the token in place, p0 that of this token before there is any text
// (the mean over the free positions of the first forward), and H0 the entropy of p0. g, of the plan, is more where
// there are many steps. Where H0 is above the 3.5 nats of letters there are more tokens to choose from, and doubt alone
// chooses the commonest. A common character is probable anywhere, so that plain confidence keeps it and the text drifts
// towards the commonest; here, surprise is measured against that which the token has of its own.
//
// A piece of a word is doubted by the most doubtful piece of that word: m of it is that doubt, the rest its own. Pieces
// of a misspelt word vouch for each other, and where one alone is drawn again the others tell it what to be. BERT's
// whole word masking (Devlin et al. 2019) masks words in training for that reason. Letters of a word have an m of their
// own, and q of each one's noise is the lowest among them: so a word is masked as a whole, and a long one more often
// than a short one, as it has more letters that may be wrong. For letters c is 1 + 0.44 m^0.1 of itself, and the step's
// temperature 1 + 0.09 (4 m (1 - m))^2 of itself.
//
// Draws from, and doubts by, the model's logits less what each token is too frequent in the text already:
//   a * max(0, log (1 + k) / (1 + e)) + b * max(0, (k - e) / sqrt(1 + e) - 2),
// where k of the visible tokens are this one and e = (visible tokens) * p0 are expected. A token that confirms itself
// all over the text would be likely everywhere; its own frequency speaks against it.
//
// Draws each position at the step's temperature times min(1, H / H0)^h, H the entropy of what it is drawn from. Where
// its neighbours settle a position a hot draw would be wrong; where all is open a cold one would take the commonest.
// EDT (Zhang et al. 2024) makes temperatures of entropies too, by another formula.
//
// Where H0 is above 3.5 nats the step's temperature is (3.5 / H0)^u of itself, u = v * (N / 64)^0.5 for N forwards,
// which count as 64 at the least and 256 at the most. A vocabulary of pieces has thousands of tokens that are each all
// but impossible; the same temperature gives them more of a draw than it gives rare letters.
class InformativeRemasking : public RevealPolicy {
 public:
  explicit InformativeRemasking(const Options& options) : options_(options) {}

  bool reads_logits(bool /*judged*/) const override { return true; }
  bool looks_at_start() const override {
    return options_.prior_weight != 0 || weighs_logits() || sets_temperatures() || options_.vocabulary_noise != 0;
  }
  bool weighs_logits() const override { return options_.excess.by_count != 0 || options_.excess.by_deviation != 0; }
  bool sets_temperatures() const override { return options_.entropy_power != 0 || scales_temperature(); }
  bool reads_words() const override {
    return options_.of_pieces.word_share != 0 || options_.of_letters.word_share != 0 ||
           options_.of_letters.noise_share != 0;
  }

  void look_at_start(const at::Tensor& logits, const at::Tensor& eligible, const WordEdges& words) override {
    const at::Tensor counted = eligible.unsqueeze(2).to(at::kFloat);
    const at::Tensor prior = (at::softmax(logits.to(at::kFloat), -1) * counted).sum(1) / counted.sum(1).clamp_min(1);
    const at::Tensor surprise = prior.clamp_min(least_share / static_cast<double>(logits.size(2))).log().neg_();
    const at::Tensor entropy = (prior * surprise).sum(1, /*keepdim=*/true);
    keep(weight_, (entropy / surprise).pow(options_.prior_weight).clamp_max_(most_weight));
    keep(prior_, prior);
    const at::Tensor of_letters = (entropy_of_letters / entropy).clamp_max(1);
    keep(temperature_share_, of_letters.pow(cooling_power()).mul_(words.of_letters ? heat() : 1));
    keep(vocabulary_noise_, of_letters.pow(-2 * options_.vocabulary_noise).sub_(1).sqrt_());
    keep(entropy_, entropy.clamp_min(least_entropy));
  }

  at::Tensor weigh(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& masked) const override {
    if (!weighs_logits()) {
      return logits;
    }
    if (kernels::cuda::has_kernels_for(logits)) {
      return kernels::cuda::less_excess(logits, tokens, masked, prior_, options_.excess);
    }
    return logits - excess(tokens, masked.logical_not()).to(logits.scalar_type()).unsqueeze(1);
  }

  at::Tensor temperatures(const at::Tensor& logits, const at::Tensor& temperature,
                          const at::Tensor& broken) const override {
    const at::Tensor of_vocabulary = scales_temperature() ? temperature * temperature_share_ : temperature;
    return temperatures_by_entropy(logits, of_vocabulary, entropy_, options_.entropy_power, broken);
  }

  Choice next_masked(const Proposal& proposal, const Turn& turn) override {
    kernels::DoubtTerms terms;
    terms.log_probability = token_log_probability(proposal.logits, proposal.tokens, proposal.broken);
    terms.tokens = proposal.tokens;
    terms.drawn = proposal.drawn;
    terms.eligible = turn.budget.eligible;
    terms.waiting = turn.waiting;
    terms.noise = turn.noise;
    terms.noise_scale = turn.noise_scale;
    terms.noise_left = turn.noise_left;
    if (options_.vocabulary_noise != 0) {
      terms.vocabulary_noise = vocabulary_noise_;
    }
    if (options_.prior_weight != 0) {
      terms.weight = weight_;
    }
    const kernels::DoubtRule& rule = turn.words.of_letters ? options_.of_letters : options_.of_pieces;
    if (rule.word_share != 0 || rule.noise_share != 0) {
      terms.begins_within = turn.words.begins_within;
      terms.ends_within = turn.words.ends_within;
    }
    return highest(doubt(terms, rule), turn.budget);
  }

 private:
  // u
  double cooling_power() const {
    const double times = std::clamp(options_.times_usual, cooling_from, cooling_to) / cooling_from;
    return options_.vocabulary_power * std::pow(times, cooling_growth);
  }

  double heat() const {
    const double share = options_.of_letters.word_share, balance = 4 * share * (1 - share);
    return 1 + heat_of_letters * balance * balance;
  }

  bool scales_temperature() const { return options_.vocabulary_power != 0 || heat() != 1; }

  // [B, V] float32
  at::Tensor excess(const at::Tensor& tokens, const at::Tensor& visible) const {
    const kernels::ExcessRule& rule = options_.excess;
    const at::Tensor shown = visible.to(at::kFloat);
    const at::Tensor counts = at::zeros_like(prior_).scatter_add_(1, tokens, shown);
    const at::Tensor expected = prior_ * shown.sum(1, /*keepdim=*/true);
    const at::Tensor ratio = (counts.log1p() - expected.log1p()).clamp_min_(0);
    const at::Tensor deviations = ((counts - expected) * (expected + 1).rsqrt_() - rule.usual_deviation).clamp_min_(0);
    return ratio.mul_(rule.by_count).add_(deviations, rule.by_deviation);
  }

  // At the same address from batch to batch, where a recorded step finds it.
  static void keep(at::Tensor& kept, const at::Tensor& value) {
    if (kept.defined() && kept.sizes() == value.sizes()) {
      kept.copy_(value);
    } else {
      kept = value;
    }
  }

  Options options_;
  at::Tensor weight_;             // [B, V] float32: (H0 / -log p0)^w
  at::Tensor prior_;              // [B, V] float32: p0
  at::Tensor entropy_;            // [B, 1] float32, nats: H0, at least least_entropy
  at::Tensor temperature_share_;  // [B, 1] float32: of the step's temperature, by the vocabulary and its words
  at::Tensor vocabulary_noise_;   // [B, 1] float32: what the vocabulary adds to g, as independent noises add up
};

}  // namespace

std::unique_ptr<RevealPolicy> best_policy(const DiffusionSettings& settings, CheckedModel* /*model*/) {
  const ParameterValues& values = settings.parameters;
  Options options;
  options.prior_weight = values.number("prior_weight");
  options.entropy_power = values.number("entropy_power");
  options.vocabulary_power = values.number("vocabulary_power");
  options.vocabulary_noise = values.number("vocabulary_noise");
  options.times_usual = times_usual(settings);
  options.of_pieces.word_share = values.number("word_doubt");
  options.of_pieces.new_token_bonus = values.number("new_token_bonus");
  options.of_pieces.choice_temperature = values.number("choice_temperature");
  options.of_letters = options.of_pieces;
  options.of_letters.word_share = values.number("letter_doubt");
  options.of_letters.noise_share = values.number("letter_noise");
  options.of_letters.choice_temperature *=
      1 + noise_of_letters * std::pow(options.of_letters.word_share, noise_of_letters_growth);
  options.excess.by_count = values.number("count_penalty");
  options.excess.by_deviation = values.number("excess_penalty");
  return std::make_unique<InformativeRemasking>(options);
}

}  // namespace demask
#endif

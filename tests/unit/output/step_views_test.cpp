#include "output/step_views.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "tests/support/catch.h"
#include "tests/support/word_pieces.h"
#include "tests/unit/output/batches.h"
#include "tests/unit/output/memory_stream.h"
#include "text/character_vocabulary.h"

namespace demask {
namespace {

using testing::MemoryStream;

constexpr float never = -std::numeric_limits<float>::infinity();

at::Tensor ids(std::vector<int64_t> values) {
  return at::tensor(values, at::kLong).unsqueeze(0);
}

StepViewOptions options_of(bool verbose, bool debug) {
  StepViewOptions options;
  options.verbose = verbose;
  options.debug = debug;
  options.mask_token_id = 3;
  return options;
}

// "#a#" becomes "ba" and a line end, whose position is masked again.
StepView diffusion_step() {
  StepView view;
  view.step = 1;
  view.steps = 4;
  view.remask_ratio = 0.5;
  view.before = ids({3, 0, 3});
  view.was_masked = view.before == 3;
  view.logits = at::tensor(std::vector<float>{std::log(0.5F), std::log(0.3F), std::log(0.2F), never,  //
                                              9, 9, 9, 9,                                             //
                                              never, never, 7, never})
                    .view({1, 3, 4});
  view.filled = ids({1, 0, 2});
  view.probabilities = at::tensor(std::vector<float>{0.5F, 1.0F, 0.25F}).unsqueeze(0);
  view.after = ids({1, 0, 3});
  return view;
}

StepView standard_step(int64_t step, int64_t token) {
  StepView view;
  view.step = step;
  view.steps = 3;
  view.logits = at::zeros({1, 4});
  view.filled = ids({token});
  view.probabilities = at::full({1, 1}, 0.25);
  return view;
}

class Fixture {
 public:
  std::string seen_of(const StepViewOptions& options, const std::vector<StepView>& steps) {
    StepViews inspection(stream_.get(), vocabulary_, options);
    inspection.on_batch(demask::testing::batch_of({7}, static_cast<int64_t>(steps.size()), 3));
    for (const StepView& step : steps) {
      inspection.on_step(step);
    }
    return stream_.text();
  }

 private:
  MemoryStream stream_;
  CharacterVocabulary vocabulary_{{"a", "b", "\n"}};
};

TEST_CASE_METHOD(Fixture,
                 "the verbose view shows an iteration's texts, ratio and the probabilities of what was drawn") {
  CHECK(seen_of(options_of(true, false), {diffusion_step()}) ==
        "Iteration 2/4, sample 7\n"
        "  before:    #a#\n"
        "  predicted: ba⏎\n"
        "  remasked:  ba#\n"
        "  remask ratio 0.5000, probability of the drawn: min 0.2500, mean 0.3750, max 0.5000\n");
}

TEST_CASE_METHOD(Fixture, "the verbose view says so where nothing was masked") {
  StepView step = diffusion_step();
  step.was_masked = at::zeros({1, 3}, at::kBool);
  const std::string seen = seen_of(options_of(true, true), {step});
  CHECK(seen.find("remask ratio 0.5000, no token drawn\n") != std::string::npos);
}

TEST_CASE_METHOD(Fixture, "the debug view measures the distributions of the masked positions only") {
  const std::string seen = seen_of(options_of(false, true), {diffusion_step()});
  // Entropies: -(0.5 ln 0.5 + 0.3 ln 0.3 + 0.2 ln 0.2) = 1.029653 nats and 0, over ln 4 = 1.386294: mean 0.3714.
  const std::string expected =
      "  shapes: logits [1, 3, 4], drawn [1, 3]\n"
      "  2 tokens drawn: mean top probability 0.7500, normalised entropy 0.3714\n"
      "  least certain:\n"
      "    sample 7 position 0: 'a' 0.5000 'b' 0.3000 '\\n' 0.2000 [MASK] 0.0000\n"
      "    sample 7 position 2: '\\n' 1.0000 ";
  CHECK(seen.substr(0, expected.size()) == expected);
  CHECK(seen.find("  longest runs: none\n  most common: 'b' 1 (33.3%), 'a' 1 (33.3%), '\\n' 1 (33.3%)\n") !=
        std::string::npos);
}

TEST_CASE_METHOD(Fixture, "standard sampling shows each token, and the debug view what has been drawn so far") {
  const std::string seen =
      seen_of(options_of(true, true), {standard_step(0, 1), standard_step(1, 0), standard_step(2, 0)});
  CHECK(seen.rfind("Token 1/3, sample 7: 'b' with probability 0.2500\n", 0) == 0);
  CHECK(seen.find("  1 tokens drawn: mean top probability 0.2500, normalised entropy 1.0000\n") != std::string::npos);
  const std::string end =
      "  longest runs: 'a' x 2 (sample 7 position 1)\n  most common: 'a' 2 (66.7%), 'b' 1 (33.3%)\n";
  CHECK(seen.substr(seen.size() - end.size()) == end);
}

TEST_CASE("word pieces are shown as the text they make, alone in quotes, and their bytes where they are no character") {
  MemoryStream stream;
  const demask::testing::WordPieces pieces({" \xf0\x9f", "\x98\x80", "<|e|>"}, {2});
  StepViews inspection(stream.get(), pieces, options_of(true, true));
  inspection.on_batch(demask::testing::batch_of({7}, 4, 3));
  StepView step = diffusion_step();
  step.filled = ids({0, 1, 2});
  step.after = ids({0, 3, 2});
  inspection.on_step(step);
  const std::string seen = stream.text();
  const auto has = [&seen](const std::string& part) { return seen.find(part) != std::string::npos; };
  CAPTURE(seen);
  CHECK(has("  predicted:  😀<|e|>\n"));
  CHECK(has("  remasked:   \\xf0\\x9f#<|e|>\n"));
  CHECK(has("' \\xf0\\x9f' 0.5000"));
  CHECK(has("<|e|> 1 (33.3%)"));
  CHECK_FALSE(has("'<|e|>'"));
}

}  // namespace
}  // namespace demask

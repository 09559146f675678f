// A way of sampling made ready, diffusion or standard: it turns prompts into tokens, and tokens into samples. Scoring
// texts is such a way too: what it draws are their scores.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "demask/sample.h"
#include "engine/context.h"
#include "sampling/diffusion_sampler.h"
#include "sampling/gap_lengths.h"
#include "sampling/match_tracker.h"
#include "sampling/noise.h"
#include "sampling/sample.h"

namespace demask {

// A prompt in tokens.
struct PreparedPrompt {
  Template text;                // diffusion: what is given and what is to fill
  std::vector<Gap> gaps;        // of `text`, not chosen yet: until then all members are as for the longest
  std::vector<int64_t> tokens;  // standard: what is given; of a text to score: all of it
  int64_t length = 0;           // tokens of a sample, prompt included
  int64_t generated = 0;        // how many of them are drawn
  size_t unshown = 0;           // how many first tokens the vocabulary put before the text
  MatchRule rule;               // standard: what the text is to match
  int64_t batch_kind = 0;       // only prompts of one kind can be drawn in one batch
  int64_t rows = 1;             // that a sample takes in a batch

  // One a position of a sample: true where the prompt gives the token.
  std::vector<bool> given() const;
};

// A sample to draw: which it is, whose random numbers it takes, and its prompt.
struct SampleTask {
  SampleIdentity identity;
  Stream stream;
  std::shared_ptr<const PreparedPrompt> prompt;
  bool traced = false;
};

// A batch all of whose work was handed to the device.
class BatchUnderWay {
 public:
  BatchUnderWay() = default;
  BatchUnderWay(const BatchUnderWay&) = delete;
  BatchUnderWay& operator=(const BatchUnderWay&) = delete;
  virtual ~BatchUnderWay() = default;

  // Waits for the device, and gives what Generator::draw of the same tasks gives. Throws as that, but neither GivenUp
  // nor for want of the device's memory.
  virtual std::vector<DrawnSample> finish(const std::vector<SampleTask>& tasks) = 0;
};

class Generator {
 public:
  virtual ~Generator() = default;

  // The prompt in tokens. Throws Error where it does not fit the vocabulary, the model or the settings. Characters
  // that --unknown_chars=skip drops are told of in a notice, unless `quiet`. May run beside draw.
  virtual std::shared_ptr<const PreparedPrompt> prepare(const Prompt& prompt, bool quiet) = 0;

  // Chooses what a prompt leaves to the model before anything is drawn, the lengths of gaps: where it does, a task's
  // prompt becomes one of the sample's own. Throws Error(failed) on non-finite logits.
  virtual void settle(std::vector<SampleTask>& /*tasks*/) {}

  // Draws the samples, all of prompts of one kind, in the order of the tasks; the observer may be null. Throws
  // Error(failed) on non-finite logits, GivenUp where the batch was to be given up.
  virtual std::vector<DrawnSample> draw(const std::vector<SampleTask>& tasks, Observer* observer) = 0;

  // Hands the work of a batch to the device without waiting for it, so that the next batch's work can follow at once.
  // Gives null where only `draw` can make these samples. The observer takes the batch for done when this returns.
  // Throws as `draw`.
  virtual std::unique_ptr<BatchUnderWay> begin(const std::vector<SampleTask>& /*tasks*/, Observer* /*observer*/) {
    return nullptr;
  }

  // The rows of a batch, given by a generator that itself bounds what it computes at once: memory is then not measured
  // by a step.
  virtual std::optional<int64_t> own_rows() const { return std::nullopt; }

  // One step of these, which takes as much memory as any.
  virtual void try_step(const std::vector<SampleTask>& tasks) = 0;

  // Model calls so far.
  virtual int64_t forwards() const = 0;

  // Makes a second generator, on the device of `context`, that draws what this one prepares. `context` is made by
  // context_on from this generator's own, and both contexts must outlive the second generator. Its notices are not
  // repeated. Throws as make_generator.
  virtual std::unique_ptr<Generator> on_device(const Context& context) const = 0;

  // The share of the texts' positions that these calls computed: below 1 where a cache keeps some.
  virtual double computed_share() const { return 1; }

  // How it samples such prompts, a label and a value each, for people; the first tells their length.
  virtual std::vector<std::pair<std::string, std::string>> describe(const PreparedPrompt& prompt) const = 0;
};

// The generator that the configuration asks for. Asks `gives_up` before each step whether to give up the batch in
// flight; it may be empty. `context` must outlive the generator. Throws Error where models and settings do not fit
// together.
std::unique_ptr<Generator> make_generator(const Context& context, const std::function<bool()>& gives_up = {});

// `count` samples of a prompt, numbered from that of `first` on.
std::vector<SampleTask> consecutive(const Stream& first, int64_t count,
                                    const std::shared_ptr<const PreparedPrompt>& prompt);

}  // namespace demask

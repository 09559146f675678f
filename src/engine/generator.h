// A way of sampling made ready, diffusion or standard: prompts into tokens, tokens into samples. Scoring texts is one
// too: what it draws is their scores.
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
  std::vector<Gap> gaps;        // of `text`, whose lengths are still to be chosen; all is as for the longest
  std::vector<int64_t> tokens;  // standard: what is given; of a text to score: all of it
  int64_t length = 0;           // tokens of a sample, prompt included
  int64_t generated = 0;        // how many of them are drawn
  size_t unshown = 0;           // of the first tokens, which the vocabulary puts before every text
  MatchRule rule;               // standard: what the text is to match
  int64_t batch_kind = 0;       // only prompts of one kind can be drawn in one batch
  int64_t rows = 1;             // of a batch, that a sample takes

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

// A batch that a device has been given all the work of.
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

  // Gives the device the work of a batch without waiting for it, so that the work of the next can follow at once. None
  // where the samples cannot be had so, but by `draw`. To the observer the batch is done when this returns. Throws as
  // `draw`.
  virtual std::unique_ptr<BatchUnderWay> begin(const std::vector<SampleTask>& /*tasks*/, Observer* /*observer*/) {
    return nullptr;
  }

  // The rows of a batch, where the generator bounds by itself what it computes at once: then no step is tried.
  virtual std::optional<int64_t> own_rows() const { return std::nullopt; }

  // One step of these, which takes as much memory as any.
  virtual void try_step(const std::vector<SampleTask>& tasks) = 0;

  // Model calls so far.
  virtual int64_t forwards() const = 0;

  // Another that draws on the device of `context`, a context_on of this one's own, what this one prepares; it says
  // nothing again. `context` and this one's own must outlive it. Throws as make_generator.
  virtual std::unique_ptr<Generator> on_device(const Context& context) const = 0;

  // The share of the texts' positions that they computed, where a cache keeps some.
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

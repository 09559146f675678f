// demask as a library: opens a model by the settings of the command line, and draws samples from it.
//
//   demask::Sampler sampler({"--out_dir=out", "--sampling_method=diffusion", "--num_samples=2"});
//   sampler.draw([](const demask::Sample& sample) { std::cout << sample.text << '\n'; });
//
// Samples are those that the program draws with the same settings. Nothing is printed to stdout; notices go to stderr.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "demask/error.h"
#include "demask/sample.h"

namespace demask {

// One that was moved from may only be destroyed or assigned to.
class Sampler {
 public:
  // `arguments` are the program's: --key=value, or names of configuration files. Loads model and vocabulary. Throws
  // Error, with the program's messages; settings of what the program writes and shows (output, prompts, live, ...)
  // are refused.
  explicit Sampler(const std::vector<std::string>& arguments);
  ~Sampler();
  Sampler(Sampler&&) noexcept;
  Sampler& operator=(Sampler&&) noexcept;

  using OnSample = std::function<void(const Sample& sample)>;

  // Draws the settings' own prompt, num_samples times. Calls on_sample on this thread for each sample, in the order of
  // their indices. Returns how many were drawn: fewer than asked for only after request_stop. Throws Error, and what
  // on_sample throws. One call at a time.
  int64_t draw(const OnSample& on_sample);

  // The same for a list of prompts, one sample each unless the prompt or the settings say otherwise. Every prompt is
  // checked before anything is drawn.
  int64_t draw(const std::vector<Prompt>& prompts, const OnSample& on_sample);

  // Says how likely texts are, by the settings score_method and score_draws, as the program's --score does: each has
  // start_text or tokens, which are scored, and optionally given or given_tokens, id and seed; nothing else of a prompt
  // counts. Their indices go on from first_sample. Every text is checked before the first is scored; then calls
  // on_score on this thread for each, in order. Returns how many were scored: fewer only after request_stop. Throws
  // Error where a text or the model cannot be scored, and what on_score throws. One call at a time, draws included. Of
  // several GPUs the first scores.
  using OnScore = std::function<void(const Score& score)>;
  int64_t score(const std::vector<Prompt>& texts, const OnScore& on_score);

  // Ends a draw or scoring that is under way before its next step: samples of the batch in flight are given up, those
  // that were drawn are handed out. Later draws are not affected. May be called from any thread, from on_sample, and
  // from a signal's handler.
  void request_stop() noexcept;

  // The device and model in words, such as "cpu" or "cuda:0,1", and "out/diffusion.pt (6 layers, 4 heads, ...)".
  const std::string& device() const;
  const std::string& model() const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace demask

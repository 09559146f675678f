// One way of sampling, made ready: diffusion or standard, with its model and policy.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "app/session.h"
#include "app/work_list.h"
#include "sampling/diffusion_sampler.h"
#include "sampling/noise.h"
#include "sampling/sample.h"

namespace demask {

// A prompt in tokens.
struct PreparedPrompt {
  Template text;                // diffusion: what is given and what is to fill
  std::vector<int64_t> tokens;  // standard: what is given
  int64_t length = 0;           // tokens of a sample, prompt included
  int64_t generated = 0;        // of them drawn
  int64_t batch_kind = 0;       // only prompts of one kind can be drawn in one batch

  // Of a sample's positions, which are not drawn.
  std::vector<bool> given() const;
};

struct Request {
  Stream stream;
  std::shared_ptr<const PreparedPrompt> prompt;
  bool traced = false;
};

struct Method {
  // The prompt in tokens. Throws Error where it does not fit the vocabulary, the model or the settings. Characters
  // that --unknown_chars=skip drops are told of on stderr, unless `quiet`. May run beside draw.
  std::function<std::shared_ptr<const PreparedPrompt>(const WorkItem& item, bool quiet)> prepare;
  // Draws samples, all prompts of one kind; the observer may be null.
  std::function<std::vector<Sample>(const std::vector<Request>& requests, Observer* observer)> draw;
  // One step of these, which takes as much memory as any.
  std::function<void(const std::vector<Request>& requests)> try_step;
  std::function<int64_t()> forwards;  // model calls so far
  // How it samples such prompts, a label and a value each, for people; the first tells their length.
  std::function<std::vector<std::pair<std::string, std::string>>(const PreparedPrompt& prompt)> describe;
};

// The run's own prompt: start_text or infill_text.
WorkItem own_prompt(const Config& config);

// Makes the method that the configuration asks for. `session` must outlive it. Throws Error where models and settings
// do not fit together.
Method make_method(const Session& session, const ParsedConfig& parsed);

// `count` samples of a prompt, with indices from that of `first` on.
std::vector<Request> consecutive(const Stream& first, int64_t count,
                                 const std::shared_ptr<const PreparedPrompt>& prompt);

}  // namespace demask

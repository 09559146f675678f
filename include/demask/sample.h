// A prompt as it is given, and a sample as it is drawn.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace demask {

// A part of a template: a fixed text, or with lengths above 0 a gap of `least` to `most` tokens to fill, the model
// choosing how many; its text is empty.
struct InfillPart {
  std::string text;
  int64_t least = 0, most = 0;
};

// One prompt: a text, its ids or a template, or nothing, which is the empty prompt. Absent numbers are the settings'
// own.
struct Prompt {
  std::string id;                         // what the caller calls it; each of its samples says it again
  std::optional<std::string> start_text;  // a prompt, in diffusion a prefix that stays; UTF-8
  // Diffusion, in place of start_text: a template in which each mask_char is a position to fill, and each
  // gap_char several.
  std::optional<std::string> infill_text;
  // The same in parts, so that no character is reserved.
  std::optional<std::vector<InfillPart>> infill;
  // In place of start_text: its ids, of tokens that vocabulary and model have, in diffusion not the mask.
  std::optional<std::vector<int64_t>> tokens;
  // A regular expression that the whole text matches, in place of the settings' own.
  std::optional<std::string> pattern;
  // From 1 to 1e9, the seed from 0 on. max_new_tokens is for standard sampling, sequence_length for diffusion.
  std::optional<int64_t> num_samples, seed, max_new_tokens, sequence_length;
  int64_t line = 0;  // in the program's list of prompts, counted from 1; messages name it. 0: its place counts
  // Where texts are scored: what stands before start_text or tokens and is not scored itself, as a text or as ids.
  std::optional<std::string> given;
  std::optional<std::vector<int64_t>> given_tokens;
};

// Which sample it is.
struct SampleIdentity {
  int64_t index = 0;      // in the run
  int64_t number = 0;     // among the samples of its prompt, from 0
  std::string prompt_id;  // of its prompt
  uint64_t seed = 0;
};

// How likely a text is.
struct Score {
  SampleIdentity identity;                    // prompt_id: the text's id
  double log_likelihood = 0;                  // nats, of the scored tokens together, given what stands before them
  std::optional<double> standard_error;       // nats, of a bound
  std::vector<int64_t> tokens;                // the scored ids
  std::vector<double> token_log_likelihoods;  // nats, one a scored token; they add up to log_likelihood
};

struct Sample {
  SampleIdentity identity;
  std::string text;             // prompt included, UTF-8
  std::vector<int64_t> tokens;  // ids, prompt included
  double self_confidence = 0;   // mean over positions of log p(token), nats
};

}  // namespace demask

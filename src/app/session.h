// What a run of either method works on: the settled configuration, the model and the vocabulary.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "app/resolve.h"
#include "config/config.h"
#include "model/language_model.h"
#include "text/vocabulary.h"

namespace demask {

struct Session {
  std::future<void> device_start;  // first, so that it ends last
  Config config;                   // seed settled
  std::set<std::string> given;     // keys that the user gave
  at::Device device = at::kCPU;
  Dtypes dtypes;
  std::string checkpoint;  // its path
  std::unique_ptr<LanguageModel> model;
  std::string vocabulary_path;
  std::unique_ptr<Vocabulary> vocabulary;
  std::optional<int64_t> mask_token_id;
  std::vector<int64_t> allowed;  // ids that may be sampled
};

// Loads model and vocabulary and checks that they belong together. Throws Error.
Session open_session(const ParsedConfig& parsed);

// Loads another model with the session's device, dtype and options.
std::unique_ptr<LanguageModel> open_model(const Session& session, const std::string& path);

// Tells the user something that is not an error, on stderr; while a view has the terminal, after that.
void notice(const std::string& text);

}  // namespace demask

// What every draw of a run works on: the settled configuration, the device, the model and the vocabulary.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "config/config.h"
#include "engine/model_ahead.h"
#include "engine/resolve.h"
#include "engine/token_roles.h"
#include "model/language_model.h"
#include "model/model_info.h"
#include "text/vocabulary.h"

namespace demask {

struct Context {
  std::vector<std::future<void>> device_starts;  // first, so that they end last
  Config config;                                 // seed settled
  std::set<std::string> given;                   // keys that the user gave
  std::vector<at::Device> devices{at::kCPU};     // that may draw
  at::Device device = at::kCPU;                  // the first of them, where the model is
  Dtypes dtypes;
  std::optional<int64_t> planned_forwards;    // that the model is loaded for, where they are few
  std::string checkpoint;                     // its path
  std::shared_ptr<const FiniteAhead> finite;  // what is known of its weights, or null
  std::unique_ptr<LanguageModel> model;
  std::string vocabulary_path;
  std::vector<std::string> vocabulary_files;  // that were read
  std::shared_ptr<const Vocabulary> vocabulary;
  std::optional<int64_t> mask_token_id;
  std::vector<int64_t> allowed;  // ids that may be sampled

  // Whether a sample's text ends before its end-of-text token.
  bool stops_at_end() const;
  // The mask as texts show it; none where the method masks nothing and the id has a text of its own.
  std::optional<int64_t> shown_mask() const;
};

// What makes loading quicker, where it is known.
struct LoadHints {
  std::optional<int64_t> planned_forwards = {};  // as in LoadOptions
  ModelAhead* ahead = nullptr;                   // its vocabulary is taken
};

// Loads model and vocabulary and checks that they belong together. `devices`, where there are any, take the place of
// the configuration's. Throws Error.
Context open_context(const ParsedConfig& parsed, const std::vector<at::Device>& devices = {},
                     const LoadHints& hints = {});

// The context of another of `first`'s devices, with a model of its own there. Its notices are not repeated. Throws as
// load_model.
Context context_on(const Context& first, at::Device device);

// A model like one that was loaded from this path, on the context's device. Throws as load_model.
std::unique_ptr<LanguageModel> model_like(const LanguageModel& model, const Context& context, const std::string& path);

// Loads a model with the context's device, dtype and options; `on_known` as in LoadOptions. Throws Error.
std::unique_ptr<LanguageModel> open_model(const Context& context, const std::string& path,
                                          const std::function<void(const ModelInfo&)>& on_known = {});

// The files that a run with this configuration reads once it is open, without those of a list of prompts.
std::vector<std::string> files_read(const Context& context);

}  // namespace demask

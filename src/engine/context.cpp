#include "engine/context.h"

#include <fmt/format.h>

#include <future>
#include <random>
#include <utility>

#include "checkpoint/checkpoint_files.h"
#include "core/error.h"
#include "core/freed_memory.h"
#include "core/notice.h"
#include "engine/batching.h"
#include "engine/model_ahead.h"
#include "engine/prompt_tokens.h"
#include "engine/vocabulary_place.h"
#include "model/device.h"
#include "model/load_model.h"
#include "text/read_vocabulary.h"

namespace demask {
namespace {

int64_t settle_seed(int64_t seed) {
  if (seed != -1) {
    return seed;
  }
  std::random_device entropy;
  seed = static_cast<int64_t>(entropy()) << 20 ^ static_cast<int64_t>(entropy());  // 52 bits: exact in JSON readers too
  notice("seed={}", seed);
  return seed;
}

void open_vocabulary(Context& context, VocabularyAhead ahead) {
  const ModelInfo& info = context.model->info();
  const VocabularyPlace place = vocabulary_place(context.config, context.checkpoint, info);
  context.vocabulary_path = place.path;
  context.vocabulary_files = place.files;
  if (!place.notice.empty()) {
    notice("{}", place.notice);
  }
  context.vocabulary =
      ahead.vocabulary && ahead.path == place.path ? std::move(ahead.vocabulary) : read_vocabulary(place.path);
  return_freed_memory();  // what reading took, which with large vocabularies is several times what stays
  check_vocabulary(*context.vocabulary, place.path, info, context.checkpoint);
  context.mask_token_id = resolve_mask_token(context.config.mask_token_id, *context.vocabulary, info);
  context.allowed = allowed_tokens(*context.vocabulary, context.mask_token_id);
  if (context.allowed.empty()) {
    fail(ExitCode::bad_input, "the vocabulary '{}' has no token that could be sampled.", place.path);
  }
  if (context.config.stop_at_end == true && !context.vocabulary->end_of_text()) {
    fail(ExitCode::bad_usage, "stop_at_end=True: the vocabulary '{}' has no end-of-text token. Leave it out.",
         place.path);
  }
}

}  // namespace

bool Context::stops_at_end() const {
  return vocabulary->end_of_text() && config.stop_at_end.value_or(!vocabulary->characters());
}

std::optional<int64_t> Context::shown_mask() const {
  const bool is_text =
      config.sampling_method == SamplingMethod::standard && mask_token_id && vocabulary->has_text(*mask_token_id);
  return is_text ? std::nullopt : mask_token_id;
}

namespace {

std::unique_ptr<LanguageModel> load_quietly(const Context& context, const std::string& path,
                                            const std::function<void(const ModelInfo&)>& on_known = {}) {
  LoadOptions options{context.device, context.dtypes.native, context.dtypes.module, context.config.compile,
                      context.config.batch_invariant};
  if (context.config.sampling_method == SamplingMethod::diffusion) {
    options.length = context.config.sequence_length;
  }
  options.forwards = context.planned_forwards;
  options.finite = context.finite;
  options.on_known = on_known;
  return load_model(path, options);
}

// Whether so much is to be drawn that every device is wanted as soon as it can be had.
bool is_large(const Config& config) {
  return config.prompts || config.score || config.num_samples * config.best_of > most_rows(config);
}

}  // namespace

std::unique_ptr<LanguageModel> model_like(const LanguageModel& model, const Context& context, const std::string& path) {
  std::unique_ptr<LanguageModel> copy = model.copy_to(context.device);
  return copy ? std::move(copy) : load_quietly(context, path);
}

std::unique_ptr<LanguageModel> open_model(const Context& context, const std::string& path,
                                          const std::function<void(const ModelInfo&)>& on_known) {
  std::unique_ptr<LanguageModel> model = load_quietly(context, path, on_known);
  for (const std::string& text : model->info().notices) {
    notice("{}", text);
  }
  return model;
}

Context open_context(const ParsedConfig& parsed, const std::vector<at::Device>& devices, const LoadHints& hints) {
  Context context;
  context.planned_forwards = hints.planned_forwards;
  context.config = parsed.config;
  context.given = parsed.given;
  Config& config = context.config;
  context.devices = devices.empty() ? resolve_devices(config.device) : devices;
  context.device = context.devices.front();
  for (const at::Device device : context.devices) {
    if (device == context.device || is_large(config)) {
      context.device_starts.push_back(start_up(device));
    }
  }
  context.dtypes = resolve_dtype(config.dtype, context.device, multiplies_bfloat16(context.device));
  config.seed = settle_seed(config.seed);
  context.checkpoint = checkpoint_path(config);
  std::future<VocabularyAhead> vocabulary;
  if (hints.ahead != nullptr) {
    context.finite = hints.ahead->finite(context.checkpoint);
    vocabulary = hints.ahead->take_vocabulary(context.checkpoint);
  }
  const WorksOn device(context.device);
  context.model = open_model(context, context.checkpoint, [&](const ModelInfo& info) {
    if (!vocabulary.valid()) {
      vocabulary = read_vocabulary_ahead(config, context.checkpoint, info);
    }
  });
  if (context.model->info().binary_classification) {
    fail(ExitCode::bad_input,
         "'{}' is a two-class remasking model, which draws no text. Name it with --remasking_checkpoint_name, and a "
         "language model with --checkpoint_name.",
         context.checkpoint);
  }
  open_vocabulary(context, vocabulary.valid() ? vocabulary.get() : VocabularyAhead());
  return context;
}

Context context_on(const Context& first, at::Device device) {
  Context context;
  context.config = first.config;
  context.given = first.given;
  context.devices = {device};
  context.device = device;
  context.dtypes = first.dtypes;
  context.checkpoint = first.checkpoint;
  context.model = model_like(*first.model, context, first.checkpoint);
  context.vocabulary_path = first.vocabulary_path;
  context.vocabulary_files = first.vocabulary_files;
  context.vocabulary = first.vocabulary;
  context.mask_token_id = first.mask_token_id;
  context.allowed = first.allowed;
  return context;
}

std::vector<std::string> files_read(const Context& context) {
  const Config& config = context.config;
  std::vector<std::string> files = checkpoint_files(context.checkpoint);
  const auto add = [&files](const std::vector<std::string>& more) {
    files.insert(files.end(), more.begin(), more.end());
  };
  add(context.vocabulary_files);
  if (config.diffusion.remasking_checkpoint_name) {
    add(checkpoint_files(remasking_checkpoint_path(config)));
  }
  for (const std::string& text : {config.start_text, config.infill_text.value_or(""), config.pattern.value_or("")}) {
    if (const std::optional<std::string> path = named_file(text)) {
      files.push_back(*path);
    }
  }
  if (config.words) {
    files.push_back(*config.words);
  }
  return files;
}

}  // namespace demask

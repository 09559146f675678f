#include "app/session.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <random>

#include "app/resolve.h"
#include "core/error.h"
#include "core/held_output.h"
#include "model/device.h"
#include "model/load_model.h"

namespace demask {
namespace {

int64_t settle_seed(int64_t seed) {
  if (seed != -1) {
    return seed;
  }
  std::random_device entropy;
  seed = static_cast<int64_t>(entropy()) << 20 ^ static_cast<int64_t>(entropy());  // 52 bits: exact in JSON readers too
  notice(fmt::format("seed={}", seed));
  return seed;
}

}  // namespace

void notice(const std::string& text) {
  const std::string line = fmt::format("Notice: {}\n", text);
  if (!hold_back(STDERR_FILENO, line)) {
    fmt::print(stderr, "{}", line);
  }
}

std::unique_ptr<LanguageModel> open_model(const Session& session, const std::string& path) {
  return load_model(path, {session.device, session.dtypes.native, session.dtypes.module, session.config.compile});
}

Session open_session(const ParsedConfig& parsed) {
  Session session;
  session.config = parsed.config;
  session.given = parsed.given;
  Config& config = session.config;
  session.device = resolve_device(config.device);
  session.device_start = start_up(session.device);
  session.dtypes = resolve_dtype(config.dtype, session.device, multiplies_bfloat16(session.device));
  config.seed = settle_seed(config.seed);
  session.checkpoint = checkpoint_path(config);
  session.model = open_model(session, session.checkpoint);
  const ModelInfo& info = session.model->info();
  if (info.binary_classification) {
    fail(ExitCode::bad_input,
         "'{}' is a two-class remasking model, which draws no text. Name it with --remasking_checkpoint_name, and a "
         "language model "
         "with --checkpoint_name.",
         session.checkpoint);
  }
  session.vocabulary_path = vocabulary_path(config, info);
  const std::string& path = session.vocabulary_path;
  session.vocabulary = std::make_unique<Vocabulary>(Vocabulary::read(path));
  check_vocabulary(*session.vocabulary, path, info, session.checkpoint);
  session.mask_token_id = resolve_mask_token(config.mask_token_id, *session.vocabulary, info);
  session.allowed = allowed_tokens(*session.vocabulary, session.mask_token_id);
  if (session.allowed.empty()) {
    fail(ExitCode::bad_input, "the vocabulary '{}' has no token that could be sampled.", path);
  }
  if (config.output) {
    std::vector<std::string> inputs = {session.checkpoint, path};
    if (config.remasking_checkpoint_name) {
      inputs.push_back(remasking_checkpoint_path(config));
    }
    if (config.prompts) {
      inputs.push_back(*config.prompts);
    }
    check_output(*config.output, inputs);
  }
  return session;
}

}  // namespace demask

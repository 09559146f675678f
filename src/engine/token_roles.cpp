#include "engine/token_roles.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "core/notice.h"

namespace demask {

void check_vocabulary(const Vocabulary& vocabulary, const std::string& vocabulary_path, const ModelInfo& model,
                      const std::string& checkpoint) {
  if (vocabulary.size() > model.output_size) {
    fail(ExitCode::bad_input,
         "the vocabulary '{}' has {} tokens, but the model '{}' gives only {}. They do not belong together: set "
         "--dataset or "
         "--meta_path to the vocabulary that the model was trained with.",
         vocabulary_path, vocabulary.size(), checkpoint, model.output_size);
  }
  // Models of pieces are padded as a matter of course, to a multiple of 128 or for tokens to come.
  const int64_t unremarkable = vocabulary.characters() ? 1 : std::max<int64_t>(1024, vocabulary.size() / 8);
  if (vocabulary.size() + unremarkable < model.output_size) {
    notice(
        "the model '{}' gives {} tokens, but the vocabulary '{}' has text for only {}; the others are never sampled.",
        checkpoint, model.output_size, vocabulary_path, vocabulary.size());
  }
}

std::optional<int64_t> resolve_mask_token(std::optional<int64_t> flag, const Vocabulary& vocabulary,
                                          const ModelInfo& model) {
  if (flag) {
    if (*flag >= model.output_size) {
      fail(ExitCode::bad_usage, "mask_token_id={}: the model's ids are 0 to {}.", *flag, model.output_size - 1);
    }
    return flag;
  }
  const std::optional<int64_t> own = vocabulary.mask_token_id(), models = model.mask_token_id;
  const int64_t id = vocabulary.characters() ? own.value_or(models.value_or(vocabulary.size()))
                                             : models.value_or(own.value_or(vocabulary.size()));
  return id < model.output_size ? std::optional<int64_t>(id) : std::nullopt;
}

std::vector<int64_t> allowed_tokens(const Vocabulary& vocabulary, std::optional<int64_t> mask_token_id) {
  std::vector<int64_t> allowed;
  for (int64_t id = 0; id < vocabulary.size(); ++id) {
    const bool is_mark = vocabulary.is_special(id) && id != vocabulary.end_of_text();
    if (vocabulary.has_text(id) && !is_mark && id != mask_token_id) {
      allowed.push_back(id);
    }
  }
  return allowed;
}

void check_diffusion_model(const ModelInfo& info, const std::string& checkpoint, const Vocabulary& vocabulary,
                           std::optional<int64_t> mask_token_id) {
  if (!mask_token_id) {
    fail(ExitCode::bad_input,
         "'{}' cannot do diffusion: it has no row for a mask token beyond its {} {}{}. {} Otherwise use "
         "--sampling_method=standard, or a checkpoint trained for diffusion.",
         checkpoint, vocabulary.size(), vocabulary.characters() ? "characters" : "tokens",
         info.causal ? " (a causal language model)" : "", mask_token_advice(vocabulary));
  }
  if (!info.every_position) {
    fail(ExitCode::bad_input,
         "'{}' cannot do diffusion: its forward gives logits at the last position only. Use "
         "--sampling_method=standard, or export a "
         "module that gives them at every position (tools/export_torchscript.py).",
         checkpoint);
  }
  if (info.input_size > 0 && *mask_token_id >= info.input_size) {
    fail(ExitCode::bad_input, "'{}' cannot do diffusion: it has no embedding for mask_token_id={}.", checkpoint,
         *mask_token_id);
  }
}

}  // namespace demask

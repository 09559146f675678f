#include "app/inspect/model_use.h"

#include <filesystem>
#include <memory>
#include <optional>

#include "app/inspect/vocabulary_facts.h"
#include "config/printing.h"
#include "engine/token_roles.h"
#include "engine/vocabulary_place.h"
#include "text/read_vocabulary.h"

namespace demask {
namespace {

using Json = nlohmann::ordered_json;

std::string absolute(const std::string& path) {
  return std::filesystem::absolute(path).lexically_normal().string();
}

// The command of a run with this model and its vocabulary.
std::string command_of(const Config& config, const std::string& path, SamplingMethod method) {
  ParsedConfig parsed;
  parsed.config.checkpoint_name = absolute(path);
  parsed.config.data_dir = config.data_dir;
  parsed.config.dataset = config.dataset;
  parsed.config.meta_path = config.meta_path;
  parsed.config.mask_token_id = config.mask_token_id;
  parsed.config.sampling_method = method;
  return to_command(parsed);
}

void add_methods(const Config& config, const std::string& path, const ModelInfo& info, const Vocabulary& vocabulary,
                 Json& use) {
  const std::optional<int64_t> mask = resolve_mask_token(config.mask_token_id, vocabulary, info);
  std::string no_diffusion;
  try {
    check_diffusion_model(info, path, vocabulary, mask);
  } catch (const Error& error) {
    no_diffusion = error.what();
  }
  const bool fills_masks = info.bidirectional || (!info.causal && no_diffusion.empty());
  const SamplingMethod method = fills_masks ? SamplingMethod::diffusion : SamplingMethod::standard;
  use["sampling_method"] = name_of(method);
  if (method == SamplingMethod::diffusion && mask) {
    use["mask_token_id"] = *mask;
  }
  use["block_size"] = info.block_size > 0 ? Json(info.block_size) : Json();
  use["command"] = command_of(config, path, method);
  if (!no_diffusion.empty()) {
    use["refuses_diffusion"] = no_diffusion;
  }
}

}  // namespace

void add_use(const Config& config, const std::string& path, const ModelInfo& info, FileReport& report) {
  Json& facts = report.facts;
  if (info.binary_classification) {
    facts["use"]["as"] = "remasking model, which says which tokens to mask again";
    facts["use"]["key"] = "--remasking_checkpoint_name=" + absolute(path);
    return;
  }
  try {
    const VocabularyPlace place = vocabulary_place(config, path, info);
    Json& vocabulary_facts_here = facts["vocabulary"];
    vocabulary_facts_here["file"] = place.path;
    if (!place.notice.empty()) {
      vocabulary_facts_here["notice"] = place.notice;
    }
    const std::unique_ptr<Vocabulary> vocabulary = read_vocabulary(place.path);
    vocabulary_facts_here.update(vocabulary_facts(*vocabulary));
    check_vocabulary(*vocabulary, place.path, info, path);
    add_methods(config, path, info, *vocabulary, facts["use"]);
  } catch (const Error& error) {
    report.refuse(error);
  }
}

}  // namespace demask

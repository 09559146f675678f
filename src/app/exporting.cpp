#include "app/exporting.h"

#include <ATen/ATen.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "checkpoint/archive.h"
#include "checkpoint/checkpoint_files.h"
#include "checkpoint/export_model.h"
#include "checkpoint/model_folder.h"
#include "checkpoint/nanogpt_weights.h"
#include "checkpoint/read_model.h"
#include "core/error.h"
#include "core/notice.h"
#include "core/text.h"
#include "engine/resolve.h"
#include "engine/token_roles.h"
#include "engine/vocabulary_place.h"
#include "model/transformer.h"
#include "text/read_vocabulary.h"

namespace demask {
namespace {

TransformerWeights read_weights(const std::string& checkpoint, Precision dtype) {
  if (dtype == Precision::int8) {
    fail(ExitCode::bad_usage,
         "dtype='int8' is how the CPU's kernels hold weights, which no folder does. Export in float32, float16 or "
         "bfloat16, or leave --dtype out to keep what is stored; --dtype=int8 reads any of them.");
  }
  const std::optional<at::ScalarType> wanted = named_dtype(dtype);
  if (is_model_folder(checkpoint)) {
    return read_model_folder(checkpoint, wanted ? at::TensorOptions(*wanted) : at::TensorOptions());
  }
  if (Archive(checkpoint).is_torchscript()) {
    fail(ExitCode::bad_input,
         "'{}' is a TorchScript module, which is code: only models that demask reads natively are exported. Export the "
         "training checkpoint that it was made from.",
         checkpoint);
  }
  const auto convert = [&](const at::Tensor& parameter) { return wanted ? parameter.to(*wanted) : parameter; };
  return nanogpt_weights(read_nanogpt_checkpoint(checkpoint, convert));
}

}  // namespace

void export_checkpoint(const ParsedConfig& parsed) {
  const Config& config = parsed.config;
  const std::string checkpoint = checkpoint_path(config);
  TransformerWeights weights = read_weights(checkpoint, config.dtype);
  TransformerDescription& description = weights.description;
  ExportOptions options;
  if (is_model_folder(checkpoint)) {
    options.config_source = (std::filesystem::path(folder_of_checkpoint(checkpoint)) / config_name).string();
  }
  if (!description.binary_classification) {  // a remasking model reads the tokens of the model that it works for
    const ModelInfo info = info_of(description, weights.dataset);
    const VocabularyPlace place = vocabulary_place(config, checkpoint, info);
    if (!place.notice.empty()) {
      notice("{}", place.notice);
    }
    const std::unique_ptr<Vocabulary> vocabulary = read_vocabulary(place.path);
    check_vocabulary(*vocabulary, place.path, info, checkpoint);
    if (description.bidirectional) {
      description.mask_token_id = resolve_mask_token(config.mask_token_id, *vocabulary, info);
    }
    for (const std::string& file : place.files) {
      options.files.push_back({std::filesystem::path(file).filename().string(), {}, file});
    }
  }
  export_model(weights, *config.export_folder, options);
  notice("'{}' is written to {}, read it with --checkpoint_name.", checkpoint, quote(*config.export_folder));
}

}  // namespace demask

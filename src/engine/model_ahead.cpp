#include "engine/model_ahead.h"

#include <exception>
#include <optional>
#include <system_error>
#include <utility>

#include "checkpoint/model_folder.h"
#include "checkpoint/nanogpt_file.h"
#include "checkpoint/planned_folder.h"
#include "config/model_paths.h"
#include "core/background.h"
#include "core/freed_memory.h"
#include "core/signals_blocked.h"
#include "engine/vocabulary_place.h"
#include "text/read_vocabulary.h"

namespace demask {
namespace {

VocabularyAhead read_if_possible(const Config& config, const std::string& checkpoint, const ModelInfo& info) {
  try {
    const std::string path = vocabulary_place(config, checkpoint, info).path;
    return {path, read_vocabulary(path)};
  } catch (const std::exception&) {  // said by who reads it in earnest
    return {};
  }
}

// Null where the file is not what the name says: then it may be a folder's or a TorchScript module's.
std::unique_ptr<const NanoGptFile> open_if_possible(const std::string& checkpoint) {
  try {
    return is_model_folder(checkpoint) ? nullptr : std::make_unique<const NanoGptFile>(checkpoint);
  } catch (const std::exception&) {
    return nullptr;
  }
}

// Nothing of what cannot be known before LibTorch is loaded.
std::optional<ModelInfo> info_if_possible(const std::string& checkpoint, const NanoGptFile* file) {
  try {
    if (file != nullptr) {
      return info_of(description_of(file->args()), file->dataset());
    }
    if (is_model_folder(checkpoint)) {
      const PlannedFolder folder(checkpoint);
      return info_of(folder.description(), folder.dataset());
    }
  } catch (const std::exception&) {
  }
  return std::nullopt;
}

}  // namespace

std::future<VocabularyAhead> read_vocabulary_ahead(const Config& config, const std::string& checkpoint,
                                                   const ModelInfo& info) {
  return in_background([config, checkpoint, info] { return read_if_possible(config, checkpoint, info); });
}

ModelAhead::ModelAhead(const Config& config, uint64_t most_bytes) : checkpoint_(checkpoint_path(config)) {
  std::promise<VocabularyAhead> vocabulary;
  vocabulary_ = vocabulary.get_future();
  const SignalsBlocked blocked;  // inherited by the thread: signals are for the one that draws
  try {
    thread_ = std::thread(
        [this, config, most_bytes, promise = std::move(vocabulary)]() mutable { read(config, most_bytes, promise); });
  } catch (const std::system_error&) {  // no thread to be had: all is read when it is needed
    vocabulary_ = {};
  }
}

ModelAhead::~ModelAhead() {
  finite_->stop();
  if (thread_.joinable()) {
    thread_.join();
  }
}

void ModelAhead::read(const Config& config, uint64_t most_bytes, std::promise<VocabularyAhead>& vocabulary) {
  const std::unique_ptr<const NanoGptFile> file = open_if_possible(checkpoint_);
  const std::optional<ModelInfo> info = info_if_possible(checkpoint_, file.get());
  VocabularyAhead read;
  if (info && !info->binary_classification) {
    read = read_if_possible(config, checkpoint_, *info);
    return_freed_memory();  // what reading took, which with large vocabularies is several times what stays
  }
  vocabulary.set_value(std::move(read));
  if (file) {
    finite_->look_through(*file, most_bytes);
  }
}

std::future<VocabularyAhead> ModelAhead::take_vocabulary(const std::string& checkpoint) {
  return checkpoint == checkpoint_ ? std::move(vocabulary_) : std::future<VocabularyAhead>();
}

std::shared_ptr<const FiniteAhead> ModelAhead::finite(const std::string& checkpoint) const {
  return checkpoint == checkpoint_ ? finite_ : nullptr;
}

}  // namespace demask

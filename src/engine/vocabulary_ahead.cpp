#include "engine/vocabulary_ahead.h"

#include <exception>
#include <optional>
#include <system_error>
#include <utility>

#include "checkpoint/archive.h"
#include "checkpoint/nanogpt_file.h"
#include "checkpoint/planned_folder.h"
#include "core/signals_blocked.h"
#include "engine/vocabulary_place.h"
#include "text/read_vocabulary.h"

namespace demask {
namespace {

// None of a TorchScript module, which only says what it is when it is loaded.
std::optional<ModelInfo> info_of_file(const std::string& checkpoint) {
  if (is_model_folder(checkpoint)) {
    const PlannedFolder planned(checkpoint);
    return info_of(planned.description(), planned.dataset());
  }
  if (Archive(checkpoint).is_torchscript()) {
    return std::nullopt;
  }
  const NanoGptFile file(checkpoint);
  return info_of(description_of(file.args()), file.dataset());
}

VocabularyAhead read(const Config& config, const std::string& checkpoint) {
  try {
    if (const std::optional<ModelInfo> info = info_of_file(checkpoint)) {
      const std::string path = vocabulary_place(config, checkpoint, *info).path;
      return {path, read_vocabulary(path)};
    }
  } catch (const std::exception&) {  // said by who reads it in earnest
  }
  return {};
}

}  // namespace

std::future<VocabularyAhead> read_vocabulary_ahead(const Config& config, const std::string& checkpoint) {
  const SignalsBlocked blocked;  // inherited by the thread: signals are for the one that draws
  try {
    return std::async(std::launch::async, read, config, checkpoint);
  } catch (const std::system_error&) {  // no thread to be had: it is read in its turn
    return std::async(std::launch::deferred, read, config, checkpoint);
  }
}

}  // namespace demask

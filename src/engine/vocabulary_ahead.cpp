#include "engine/vocabulary_ahead.h"

#include <exception>

#include "core/background.h"
#include "engine/vocabulary_place.h"
#include "text/read_vocabulary.h"

namespace demask {

std::future<VocabularyAhead> read_vocabulary_ahead(const Config& config, const std::string& checkpoint,
                                                   const ModelInfo& info) {
  return in_background([config, checkpoint, info]() -> VocabularyAhead {
    try {
      const std::string path = vocabulary_place(config, checkpoint, info).path;
      return {path, read_vocabulary(path)};
    } catch (const std::exception&) {  // said by who reads it in earnest
      return {};
    }
  });
}

}  // namespace demask

// A model's vocabulary read while its weights are.
#pragma once

#include <future>
#include <memory>
#include <string>

#include "config/config.h"
#include "model/model_info.h"
#include "text/vocabulary.h"

namespace demask {

struct VocabularyAhead {
  std::string path;                        // that was read
  std::unique_ptr<Vocabulary> vocabulary;  // null where it could not be read: whoever needs it reads it again
};

// Starts a thread that reads the vocabulary which belongs to the model of this checkpoint, and says nothing of what is
// wrong with it.
std::future<VocabularyAhead> read_vocabulary_ahead(const Config& config, const std::string& checkpoint,
                                                   const ModelInfo& info);

}  // namespace demask

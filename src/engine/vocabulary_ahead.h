// A model's vocabulary read while its weights are.
#pragma once

#include <future>
#include <memory>
#include <string>

#include "config/config.h"
#include "text/vocabulary.h"

namespace demask {

struct VocabularyAhead {
  std::string path;                        // that was read; empty where the file of the model does not say enough
  std::unique_ptr<Vocabulary> vocabulary;  // null where it could not be read: whoever needs it reads it again
};

// Starts a thread that reads the vocabulary which belongs to a checkpoint by what its file says, and says nothing of
// what is wrong with either.
std::future<VocabularyAhead> read_vocabulary_ahead(const Config& config, const std::string& checkpoint);

}  // namespace demask

// What belongs to a model, read before it is needed.
#pragma once

#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "checkpoint/finite_ahead.h"
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

// A thread that reads, while LibTorch is loaded, what can be read of a configuration's model without it: first its
// vocabulary, then whether the weights of a training checkpoint are finite. It says nothing of what is wrong.
class ModelAhead {
 public:
  // Looks at no more than so many bytes of weights.
  ModelAhead(const Config& config, uint64_t most_bytes);
  ModelAhead(const ModelAhead&) = delete;
  ModelAhead& operator=(const ModelAhead&) = delete;
  ~ModelAhead();  // ends the thread

  // The vocabulary that belongs to this checkpoint, once. Not valid where another checkpoint is read.
  std::future<VocabularyAhead> take_vocabulary(const std::string& checkpoint);

  // What is known of this checkpoint's weights. Null where another was read.
  std::shared_ptr<const FiniteAhead> finite(const std::string& checkpoint) const;

 private:
  void read(const Config& config, uint64_t most_bytes, std::promise<VocabularyAhead>& vocabulary);

  std::string checkpoint_;
  std::future<VocabularyAhead> vocabulary_;
  std::shared_ptr<FiniteAhead> finite_ = std::make_shared<FiniteAhead>();
  std::thread thread_;
};

}  // namespace demask

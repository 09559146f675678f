// Where a model's vocabulary lies.
#pragma once

#include <string>
#include <vector>

#include "config/config.h"
#include "model/model_info.h"

namespace demask {

struct VocabularyPlace {
  std::string path;                // what read_vocabulary takes: a file, or the folder that a flag named
  std::vector<std::string> files;  // all that are read of it
  std::string notice;              // what the user should be told of the choice; empty where there is nothing to tell
};

// The first of these that is there:
//   - what meta_path names, a file or a folder,
//   - what vocabulary_in() finds in the folder of the checkpoint,
//   - what it finds in that of the dataset, which a flag names or else the checkpoint,
//   - for a model of GPT-2's 50,257 tokens, with a mask or padding or without, GPT-2's encoding: the folder `gpt2` in
//     data_dir, else that which is installed with demask,
//   - the dataset shakespeare_char, where the checkpoint names none.
// What a flag names is given whether it is there or not. Throws Error(bad_input) where GPT-2's encoding is not found.
VocabularyPlace vocabulary_place(const Config& config, const std::string& checkpoint, const ModelInfo& model);

}  // namespace demask

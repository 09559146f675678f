// Writes a model as a folder that the field's libraries and demask read: config.json, model.safetensors, and files that
// go with them.
#pragma once

#include <string>
#include <vector>

#include "checkpoint/transformer.h"

namespace demask {

struct ExportedFile {
  std::string name;     // in the folder
  std::string content;  // its bytes, where `source` is empty
  std::string source;   // the file that it is a copy of
};

struct ExportOptions {
  std::vector<ExportedFile> files;  // tokenizer.json and the like
  std::string config_source;        // a config.json whose other fields are kept, if it is of the same family; or empty
};

// In the layout of the family that the weights came from and in the dtype that they are held in; a nanoGPT model with
// its own names and fields under the model_type "nanogpt". MDLM's weights, into which its modulation was folded, are
// written with one that changes nothing. Holds one tensor on the host at a time.
// The folder is there whole or not at all. Throws Error(bad_usage) that names --export where `folder` is there already
// and not empty; Error(bad_input) where a source cannot be read; Error(failed) where writing fails.
void export_model(const TransformerWeights& weights, const std::string& folder, const ExportOptions& options = {});

}  // namespace demask

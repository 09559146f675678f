// Reads a model's folder: its weights under demask's names, whatever family they come from.
#pragma once

#include <string>

#include "checkpoint/nanogpt_checkpoint.h"
#include "checkpoint/transformer.h"

namespace demask {

// `path` is a folder with config.json and safetensors, or one file of safetensors beside its config.json; see
// is_model_folder(). `convert` turns each stored tensor into the dtype and on to the device that the caller wants;
// where it is empty, all are of the dtype of the token embedding. A tensor that `convert` returns as it is and that
// belongs to the transformer alone goes on lying in the mapped file: such are read from disk when they are first used,
// and must not be written to. Others are converted one at a time, and the file's pages are given back as soon as they
// are read. Runs no code. Throws Error(bad_input) that names the file and, of the configuration, the field and what is
// allowed; of the weights every missing, unexpected and misshapen tensor, and those that are not finite.
TransformerWeights read_model_folder(const std::string& path, const ParameterConversion& convert = {});

}  // namespace demask

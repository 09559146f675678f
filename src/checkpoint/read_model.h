// Reads a model's folder: its weights under demask's names, whatever family they come from.
#pragma once

#include <c10/core/TensorOptions.h>

#include <memory>
#include <string>

#include "checkpoint/transformer.h"
#include "checkpoint/weight_source.h"

namespace demask {

// `path` is a folder with config.json and safetensors, or one file of safetensors beside its config.json; see
// is_model_folder(). The weights are in the dtype and on the device of `options`; where it names no dtype, in that of
// the token embedding. A tensor that the file stores so, for the CPU, goes on lying in the mapped file: it is read from
// there when it is first used, and must not be written to. Others are converted a block at a time. The file's pages are
// given back as soon as they are read, those of a tensor that lies in them when the next part is asked for. Runs no
// code. Throws Error(bad_input) that names the file and, of the configuration, the field and what is allowed; of the
// weights every missing, unexpected and misshapen tensor; and, once they are asked for, those that are not finite.
std::unique_ptr<WeightSource> open_model_folder(const std::string& path, const at::TensorOptions& options = {});

// All of them.
TransformerWeights read_model_folder(const std::string& path, const at::TensorOptions& options = {});

}  // namespace demask

// A torch.jit.save module, traced or scripted, as a LanguageModel.
#pragma once

#include <memory>
#include <string>

#include "model/language_model.h"
#include "model/load_model.h"

namespace demask {

// `forward` takes (idx) or (idx, targets), idx int64 [B, T], and returns logits [B, T, V] or a tuple that starts with
// them. A module that gives [B, 1, V] is called with dummy targets where forward has that parameter; where it still
// gives one position, info().every_position is false. Device constants in its graphs are moved to options.device. The
// extra files model_args.json and config.json fill ModelInfo where present. With options.native, a module that proves
// to be a GPT of nanoGPT's family (recognise_gpt.h) comes back as Transformer, which is faster. Throws Error(bad_input)
// that names the file: not loadable, no usable forward, or code that reaches outside the module (files, custom
// operators).
std::unique_ptr<LanguageModel> load_torchscript_model(const std::string& path, const LoadOptions& options);

}  // namespace demask

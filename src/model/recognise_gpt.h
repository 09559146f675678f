// Recognises a model in another form, such as a TorchScript module, that is a GPT of nanoGPT's family, so that its
// weights can run through Transformer.
//
// Names and shapes of parameters only propose an architecture; what decides is the logits. Both run in float32 (or
// wider) on the CPU, which takes no longer than starting a GPU does meanwhile: on two sequences of 3 tokens and of a
// quarter of the block, and on one of the whole block, which hold every token of the vocabulary where they are long
// enough. Every logit that the original gives has to be within gpt_tolerance of the native model's, in units of the
// logits' standard deviation. On that scale the shipped models' float32 logits are within 1e-5 of float64 ones, and
// those of their exports within 5e-5 of the native model's on CUDA: code that computes rotary angles in float32 errs
// more the longer the block. GELU by tanh moves them by 1e-3 or more at the whole block, and other architectures by far
// more.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "checkpoint/nanogpt_checkpoint.h"
#include "model/language_model.h"
#include "model/transformer.h"

namespace demask {

constexpr double gpt_tolerance = 2e-4;

// The parameters as those of a GPT, any prefix they have in common stripped, and what their names and shapes say of
// args; n_head and bidirectional are still open. Empty where they are not exactly a GPT's, or known.block_size does not
// fit them, is not known, or is longer than a start can afford to compare.
std::optional<NanoGptCheckpoint> propose_gpt(const std::map<std::string, at::Tensor>& parameters,
                                             const ModelInfo& known);

// A Transformer of the proposed weights on `device` in `dtype`, proven by comparison with `original`, which runs the
// same weights as they are; null where no Transformer agrees, or the original itself does not give the same twice.
// n_head_hint, or 0, is tried first.
std::unique_ptr<Transformer> recognise_gpt(NanoGptCheckpoint proposed, LanguageModel& original, int64_t n_head_hint,
                                           at::Device device, at::ScalarType dtype);

// How far logits are from `reference` at most, in units of the reference's standard deviation: both [B, T, V].
double logits_disagreement(const at::Tensor& logits, const at::Tensor& reference);

}  // namespace demask

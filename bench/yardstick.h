// What a case is measured against on the machine that it runs on: the Python script's algorithm in LibTorch's plain
// operations, as a straightforward script writes it.
#pragma once

#include <functional>

#include "engine/context.h"
#include "engine/generator.h"

namespace demask::bench {

// A function that draws all the settings' samples once, on its device and always in float32, with the weights read
// anew. The texts differ from demask's, and so do those of two draws: the work does not. An empty function where the
// settings ask for what the loops here leave out: a TorchScript module, a remasking model, top_p, a repetition penalty
// or greedy draws. Throws Error(bad_input) where the checkpoint cannot be read.
//
// Diffusion: a forward of the batch [B, T] an iteration, then draws and remasking sample after sample, a forward [1, T]
// of each for its confidence; at the end one more a sample. Standard: nanoGPT's generate, sample after sample, which
// runs the whole text [1, t] for each token.
std::function<void()> make_plain_draw(const Context& context, const PreparedPrompt& prompt);

}  // namespace demask::bench

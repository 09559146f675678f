// nanoGPT's meta.pkl, or the same in meta.json, as a vocabulary of characters.
#pragma once

#include <memory>
#include <string>

#include "text/vocabulary.h"

namespace demask {

// `content` is that of `path`, which errors name: a pickle of protocol 2 or later, or else JSON.
// Throws Error(bad_input) naming what is wrong with it.
std::unique_ptr<Vocabulary> read_meta_file(const std::string& content, const std::string& path);

}  // namespace demask

// Reads a vocabulary of any kind that demask knows.
#pragma once

#include <memory>
#include <string>

#include "text/vocabulary.h"

namespace demask {

// `path` is a file, told apart by its content: nanoGPT's meta.pkl or the same in meta.json; or a folder with one of
// these.
// Throws Error(bad_input) naming the file and what is wrong with it.
std::unique_ptr<Vocabulary> read_vocabulary(const std::string& path);

}  // namespace demask

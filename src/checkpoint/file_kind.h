// Tells what a file is that is not what it was taken for, by its first bytes.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "core/input_file.h"

namespace demask {

// As many of a file's first bytes as recognise_file looks at.
inline constexpr size_t recognised_bytes = 512;

// "a Git LFS pointer, which stands for the file. Fetch the file itself: git lfs pull.", for a file that begins with
// `start` and was read as a `wanted`; empty where the bytes are not known. Pickles of protocols 2 to 5, JSON and zip
// archives with records are not named: one reader or another takes them.
std::optional<std::string> recognise_file(std::string_view start, const InputFileKind& wanted);

}  // namespace demask

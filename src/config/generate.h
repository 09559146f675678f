// The man page and the completions of shells, made from the table of settings and the registry of strategies.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "core/names.h"

namespace demask {

enum class Generated { man, bash, zsh, fish };
template <>
inline constexpr std::array<std::string_view, 4> names_of<Generated>{"man", "bash", "zsh", "fish"};

// The whole file: roff of man(7), or what the shell loads. The same at each call.
std::string generate(Generated what);

std::string generated_names();  // with blanks between

// One each.
std::string generate_man();
std::string generate_bash();
std::string generate_zsh();
std::string generate_fish();

}  // namespace demask

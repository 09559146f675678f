// What a run says on stderr. It must not fail the run: a stderr that is full, closed or a pipe without a reader is
// left alone.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>

namespace demask {

// Writes `text` to stderr as it is, with invisible characters other than line ends and tabs as escapes; while a view
// has the terminal, after that.
void diagnostic(std::string_view text);

// Tells the user something that is not an error, as "Notice: ..." on a line of its own.
inline void notice(const std::string& text) {
  diagnostic("Notice: " + text + "\n");
}

// The same, formatted as fmt::format does.
template <typename... Args>
void notice(fmt::format_string<Args...> format, Args&&... args) {
  notice(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace demask

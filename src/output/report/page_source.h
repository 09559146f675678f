// The files of this folder, put into the program by CMake.
#pragma once

#include <string_view>

namespace demask {

extern const std::string_view report_html;  // with {{title}}, {{style}}, {{traces}} and {{script}}
extern const std::string_view report_style;
extern const std::string_view report_script;

}  // namespace demask

// How a run ends that did not draw all it was asked for.
#pragma once

#include <cstdint>
#include <string>

#include "app/line_ranges.h"
#include "config/config.h"
#include "engine/work.h"

namespace demask {

// Throws Error with the exit code of the signal that stopped the run; says how to go on with it.
[[noreturn]] void end_interrupted(const Config& config, int64_t drawn, int64_t asked);

// The same for a list that is read as it comes, called `name`: names the lines that were read and are not answered.
[[noreturn]] void end_interrupted(const std::string& name, int64_t drawn, const LineRanges& unanswered);

// "these lines of standard input were read and are not answered, or not with all their samples: 3-5, 9."
std::string unanswered_in_words(const std::string& name, const LineRanges& unanswered);

// Throws Error(failed) that names the lines of the list that were left out, where there are any: the run has done what
// it could.
void report_bad_lines(const Work& work, const std::string& name);

}  // namespace demask

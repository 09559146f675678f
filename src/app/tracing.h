// Which samples of a run are traced, and what their trace says of the run.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/context.h"
#include "engine/work.h"
#include "output/run_file.h"
#include "output/sample_writer.h"
#include "output/trace.h"

namespace demask {

// The indices asked for that lie in this process's range and are not `done`; of none asked for, the first to draw.
// Throws Error(bad_usage) for an index that is not the run's.
std::set<int64_t> traced_indices(const Config& config, const Work& work, const IndexRange& range,
                                 const std::function<bool(int64_t)>& done);

// `header` as in a run file, `description` as samples are written with.
TraceRun describe_trace(const Context& context, nlohmann::ordered_json header, const RunDescription& description);

}  // namespace demask

// One page that plays traces: all that it needs is inside, and nothing is fetched.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace demask {

// HTML of one trace, or of several side by side. Whatever the traces say shows literally.
std::string report_page(const std::vector<nlohmann::ordered_json>& traces);

}  // namespace demask

// The picture of quality against forwards: one small panel a measure, one line a strategy.
#pragma once

#include <string>
#include <vector>

#include "bench/quality/metrics.h"

namespace demask::quality {

struct FrontierPoint {
  double forwards = 0;
  Quality quality;
};

struct FrontierLine {
  std::string label;
  std::vector<FrontierPoint> points;
};

// A whole SVG file. Each panel has one polyline a strategy over a logarithmic axis of forwards, and `held_out` as a
// dashed line. Points without a number, or without forwards, are left out. The strategy called "best" stands out, and
// after it those whose name begins with "remask". Nothing is loaded from elsewhere; the background is white, for pages
// of any colour.
std::string frontier_svg(const std::string& title, const std::vector<FrontierLine>& lines, const Quality& held_out);

}  // namespace demask::quality

#include "bench/quality/frontier_svg.h"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "core/markup.h"
#include "tests/support/catch.h"

using Catch::Matchers::ContainsSubstring;
using namespace demask::quality;

namespace {

Quality quality(double value) {
  const Estimate estimate{value, 0.01, 0.01};
  Quality quality;
  for (const Measure& measure : measures) {
    quality.*measure.estimate = estimate;
  }
  return quality;
}

FrontierLine line(const std::string& label, const std::vector<double>& values) {
  FrontierLine line{label, {}};
  double forwards = 16;
  for (const double value : values) {
    line.points.push_back({forwards, quality(value)});
    forwards *= 2;
  }
  return line;
}

size_t count(const std::string& text, const std::string& what) {
  size_t found = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + what.size())) {
    ++found;
  }
  return found;
}

// Every element is closed, in the order that XML asks for, and nothing of markup stands in attributes or text.
bool is_well_formed(const std::string& xml) {
  std::vector<std::string> open;
  size_t at = 0;
  for (size_t start = xml.find('<'); start != std::string::npos; start = xml.find('<', at)) {
    at = xml.find('>', start);
    if (at == std::string::npos || xml.find('<', start + 1) < at) {
      return false;
    }
    const std::string tag = xml.substr(start + 1, at - start - 1);
    if (count(tag, "\"") % 2 != 0) {
      return false;
    }
    if (tag.front() == '/') {
      if (open.empty() || open.back() != tag.substr(1)) {
        return false;
      }
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(tag.substr(0, tag.find(' ')));
    }
  }
  return open.empty() && count(xml, "<svg") == 1;
}

// Of the first polyline that carries this label.
double stroke_width(const std::string& svg, const std::string& label) {
  const std::string attribute = "stroke-width=\"";
  const size_t at = svg.find(attribute, svg.find("<title>" + label + "</title>"));
  return std::stod(svg.substr(at + attribute.size()));
}

// The points of the first polyline.
std::string first_points(const std::string& svg) {
  const std::string attribute = "<polyline points=\"";
  const size_t start = svg.find(attribute) + attribute.size();
  return svg.substr(start, svg.find('"', start) - start);
}

}  // namespace

TEST_CASE("each measure's panel has one polyline a strategy and the held-out line") {
  const std::string svg = frontier_svg("title", {line("a", {1, 2, 3}), line("b", {2, 3}), line("c", {4})}, quality(2));
  CHECK(is_well_formed(svg));
  CHECK(count(svg, "<polyline") == measures.size() * 3);
  CHECK(count(svg, "<circle") == measures.size() * (3 + 2 + 1));
  CHECK(count(svg, "stroke-dasharray") == measures.size() + 1);  // and its entry in the legend
  for (const char* words : {">16<", ">32<", ">64<", ">forwards<", ">held-out text<", ">title<"}) {
    CHECK_THAT(svg, ContainsSubstring(words));
  }
}

TEST_CASE("text is escaped") {
  CHECK(demask::escape_markup("a < b && \"c\" > 'd'") == "a &lt; b &amp;&amp; &quot;c&quot; &gt; 'd'");
  const std::string svg = frontier_svg("<&>", {line("a<b>&\"c\"", {1, 2})}, quality(2));
  CHECK(is_well_formed(svg));
  CHECK_THAT(svg, ContainsSubstring("<title>a&lt;b&gt;&amp;&quot;c&quot;</title>"));
  CHECK_THAT(svg, ContainsSubstring(">&lt;&amp;&gt;<"));
}

TEST_CASE("the best strategy stands out, and after it those that remask") {
  const std::string svg =
      frontier_svg("", {line("best", {1}), line("remask-draw", {1}), line("maskgit", {1})}, quality(1));
  CHECK(stroke_width(svg, "best") > stroke_width(svg, "remask-draw"));
  CHECK(stroke_width(svg, "remask-draw") > stroke_width(svg, "maskgit"));
  CHECK(svg.find("<title>maskgit") < svg.find("<title>remask-draw"));  // drawn later, so above
  CHECK(svg.find("<title>remask-draw") < svg.find("<title>best"));
}

TEST_CASE("as many strategies as are built in can be told apart") {
  std::vector<FrontierLine> lines;
  for (int i = 0; i < 28; ++i) {
    lines.push_back(line("s" + std::to_string(i), {1}));
  }
  const std::string svg = frontier_svg("", lines, quality(1));
  std::vector<std::string> looks;
  for (const FrontierLine& one : lines) {
    const size_t start = svg.find("stroke=", svg.find("<title>" + one.label + "</title>"));
    looks.push_back(svg.substr(start, svg.find("/>", start) - start));
  }
  std::sort(looks.begin(), looks.end());
  CHECK(std::unique(looks.begin(), looks.end()) == looks.end());
}

TEST_CASE("twice the forwards lie equally far to the right, and more lies above") {
  double x[3], y[3];
  const std::string points = first_points(frontier_svg("", {line("a", {1, 2, 3})}, quality(2)));
  REQUIRE(std::sscanf(points.c_str(), "%lf,%lf %lf,%lf %lf,%lf", &x[0], &y[0], &x[1], &y[1], &x[2], &y[2]) == 6);
  CHECK(x[1] - x[0] == Catch::Approx(x[2] - x[1]).margin(0.11));
  CHECK(x[0] < x[1]);
  CHECK(y[1] - y[0] == Catch::Approx(y[2] - y[1]).margin(0.11));
  CHECK(y[0] > y[1]);
}

TEST_CASE("what is not a number is left out, and a picture of nothing is still one") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  FrontierLine broken = line("a", {1, nan, 3});
  broken.points.push_back({0, quality(1)});  // no forwards: no place on a logarithmic axis
  const std::string svg = frontier_svg("", {broken, line("none", {})}, quality(nan));
  CHECK(is_well_formed(svg));
  CHECK(count(svg, "<polyline") == measures.size() * 2);
  CHECK(count(svg, "<circle") == measures.size() * 2);
  CHECK(count(svg, "nan") == 0);
  CHECK(count(svg, "inf") == 0);
  CHECK(is_well_formed(frontier_svg("", {}, quality(nan))));
  CHECK(count(svg, "href") + count(svg, "url(") + count(svg, "http") == 1);  // the namespace alone
}

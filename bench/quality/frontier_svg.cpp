#include "bench/quality/frontier_svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <numeric>
#include <utility>

#include "core/markup.h"

namespace demask::quality {
namespace {

// Pixels.
constexpr double margin = 16;
constexpr double title_height = 32;
constexpr double panel_width = 400, panel_height = 300;
constexpr double plot_left = 48, plot_right = 10, plot_top = 28, plot_bottom = 44;  // around a panel's plot
constexpr double legend_width = 180, legend_row = 20, legend_sample = 40;
constexpr size_t panels_across = 2;

constexpr const char* held_out_name = "held-out text";

struct Stroke {
  const char* colour;
  const char* dashes;  // as stroke-dasharray has them, empty for a solid line
  double width = 1;
};

constexpr Stroke axis_stroke{"#1a1a1a", "", 1};
constexpr Stroke grid_stroke{"#e3e3e3", "", 1};
constexpr Stroke held_out_stroke{"#6b6b6b", "6 4", 1.6};
constexpr Stroke best_stroke{"#1a1a1a", "", 3.6};

// Okabe and Ito's colours for all kinds of colour vision, without yellow and black, and Tol's wine. Dashes tell lines
// of one colour apart.
Stroke stroke_of_other(size_t index) {
  constexpr std::array<const char*, 7> colours = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                  "#e69f00", "#56b4e9", "#882255"};
  constexpr std::array<const char*, 4> dashes = {"", "7 3", "2 2.5", "10 3 2 3"};
  return {colours[index % colours.size()], dashes[index / colours.size() % dashes.size()], 1.4};
}

std::vector<Stroke> choose_strokes(const std::vector<FrontierLine>& lines) {
  std::vector<Stroke> strokes;
  size_t others = 0;
  for (const FrontierLine& line : lines) {
    strokes.push_back(line.label == "best" ? best_stroke : stroke_of_other(others++));
    if (line.label.compare(0, 6, "remask") == 0) {
      strokes.back().width = 2.4;
    }
  }
  return strokes;
}

// The indices of the lines, those to be seen most at the end.
std::vector<size_t> drawing_order(const std::vector<Stroke>& strokes) {
  std::vector<size_t> order(strokes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return strokes[a].width < strokes[b].width; });
  return order;
}

struct Point {
  double x = 0;
  double y = 0;
};

std::string stroke_attributes(const Stroke& stroke) {
  const std::string dashes = *stroke.dashes == '\0' ? "" : fmt::format(R"( stroke-dasharray="{}")", stroke.dashes);
  return fmt::format(R"(fill="none" stroke="{}" stroke-width="{}"{})", stroke.colour, stroke.width, dashes);
}

// An SVG file in the making.
class Canvas {
 public:
  Canvas(double width, double height) {
    add(R"(<svg xmlns="http://www.w3.org/2000/svg" width="{0:.0f}" height="{1:.0f}" viewBox="0 0 {0:.0f} {1:.0f}" )"
        R"(font-family="Helvetica, Arial, sans-serif" font-size="11" fill="#1a1a1a">)"
        "\n",
        width, height);
    add(R"(<rect width="100%" height="100%" fill="#ffffff"/>)"
        "\n");
  }

  // `anchor`: which end of the text stands at the point, as SVG calls it.
  void text(Point at, const char* anchor, const std::string& words) {
    add("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", at.x, at.y, anchor, escape_markup(words));
  }
  void heading(Point at, int size, const std::string& words) {
    add("<text x=\"{:.1f}\" y=\"{:.1f}\" font-size=\"{}\" font-weight=\"600\">{}</text>\n", at.x, at.y, size,
        escape_markup(words));
  }
  void straight(Point from, Point to, const Stroke& stroke) {
    add("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" {}/>\n", from.x, from.y, to.x, to.y,
        stroke_attributes(stroke));
  }
  // A line with a dot at each point; browsers show its label under the pointer.
  void polyline(const std::vector<Point>& points, const Stroke& stroke, const std::string& label) {
    std::string corners, dots;
    for (const Point& point : points) {
      corners += fmt::format("{}{:.1f},{:.1f}", corners.empty() ? "" : " ", point.x, point.y);
      dots += fmt::format(R"(<circle cx="{:.1f}" cy="{:.1f}" r="{:.1f}"/>)", point.x, point.y, 1.3 + stroke.width / 2);
    }
    add("<g fill=\"{}\"><title>{}</title><polyline points=\"{}\" {}/>{}</g>\n", stroke.colour, escape_markup(label),
        corners, stroke_attributes(stroke), dots);
  }

  std::string finish() { return svg_ + "</svg>\n"; }

 private:
  template <typename... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(svg_), format, std::forward<Args>(args)...);
  }
  std::string svg_;
};

struct Range {
  double low = 0;
  double high = 1;
};

// Around all numbers, with `share` of their spread beside them and at least `least`.
Range range_around(const std::vector<double>& numbers, double share, double least) {
  if (numbers.empty()) {
    return {};
  }
  const auto [low, high] = std::minmax_element(numbers.begin(), numbers.end());
  const double beside = std::max((*high - *low) * share, least);
  return {*low - beside, *high + beside};
}

// Where numbers lie on the canvas.
struct Axis {
  Range numbers;
  Range pixels;
  double at(double number) const {
    return pixels.low + (number - numbers.low) / (numbers.high - numbers.low) * (pixels.high - pixels.low);
  }
};

// 1, 2 or 5 times a power of ten, so that about five steps fill the range.
double tick_step(const Range& range) {
  const double rough = (range.high - range.low) / 5;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  const double times = rough / power;
  return power * (times <= 1 ? 1 : times <= 2 ? 2 : times <= 5 ? 5 : 10);
}

// One measure: the points that can be drawn, as log2 of forwards and the value.
struct Panel {
  const char* title;
  std::vector<std::vector<Point>> lines;
  double held_out;
};

Panel make_panel(const Measure& measure, const std::vector<FrontierLine>& lines, const Quality& held_out) {
  Panel panel{measure.title, {}, (held_out.*measure.estimate).value};
  for (const FrontierLine& line : lines) {
    std::vector<Point>& points = panel.lines.emplace_back();
    for (const FrontierPoint& point : line.points) {
      const Point drawn{std::log2(point.forwards), (point.quality.*measure.estimate).value};
      if (std::isfinite(drawn.x) && std::isfinite(drawn.y)) {
        points.push_back(drawn);
      }
    }
  }
  return panel;
}

struct Axes {
  Axis forwards;  // of log2
  Axis values;
};

Axes make_axes(const Panel& panel, Point corner) {
  std::vector<double> forwards, values;
  for (const std::vector<Point>& line : panel.lines) {
    for (const Point& point : line) {
      forwards.push_back(point.x);
      values.push_back(point.y);
    }
  }
  if (std::isfinite(panel.held_out)) {
    values.push_back(panel.held_out);
  }
  // Values grow upwards, while pixels count downwards.
  return {{range_around(forwards, 0.04, 0.1), {corner.x + plot_left, corner.x + panel_width - plot_right}},
          {range_around(values, 0.06, 1e-3), {corner.y + panel_height - plot_bottom, corner.y + plot_top}}};
}

void draw_value_grid(Canvas& canvas, const Axes& axes) {
  const double step = tick_step(axes.values.numbers);
  const int decimals = std::max(0, static_cast<int>(-std::floor(std::log10(step))));
  const auto first = static_cast<int64_t>(std::ceil(axes.values.numbers.low / step));
  const auto last = static_cast<int64_t>(std::floor(axes.values.numbers.high / step));
  for (int64_t i = first; i <= last; ++i) {
    const double value = static_cast<double>(i) * step, y = axes.values.at(value);
    canvas.straight({axes.forwards.pixels.low, y}, {axes.forwards.pixels.high, y}, grid_stroke);
    canvas.text({axes.forwards.pixels.low - 6, y + 4}, "end", fmt::format("{:.{}f}", value, decimals));
  }
}

void draw_forwards_grid(Canvas& canvas, const Axes& axes) {
  const Range& y = axes.values.pixels;
  const auto first = static_cast<int64_t>(std::ceil(axes.forwards.numbers.low));
  const auto last = static_cast<int64_t>(std::floor(axes.forwards.numbers.high));
  for (int64_t power = first; power <= last; ++power) {
    const double x = axes.forwards.at(static_cast<double>(power));
    canvas.straight({x, y.low}, {x, y.high}, grid_stroke);
    canvas.text({x, y.low + 16}, "middle", fmt::format("{:g}", std::exp2(power)));
  }
  canvas.straight({axes.forwards.pixels.low, y.low}, {axes.forwards.pixels.high, y.low}, axis_stroke);
  canvas.text({(axes.forwards.pixels.low + axes.forwards.pixels.high) / 2, y.low + 32}, "middle", "forwards");
}

void draw_panel(Canvas& canvas, const Panel& panel, Point corner, const std::vector<FrontierLine>& lines,
                const std::vector<Stroke>& strokes) {
  const Axes axes = make_axes(panel, corner);
  canvas.heading({axes.forwards.pixels.low, corner.y + 16}, 13, panel.title);
  draw_value_grid(canvas, axes);
  draw_forwards_grid(canvas, axes);
  if (std::isfinite(panel.held_out)) {
    const double y = axes.values.at(panel.held_out);
    canvas.straight({axes.forwards.pixels.low, y}, {axes.forwards.pixels.high, y}, held_out_stroke);
  }
  for (const size_t i : drawing_order(strokes)) {
    std::vector<Point> points;
    for (const Point& point : panel.lines[i]) {
      points.push_back({axes.forwards.at(point.x), axes.values.at(point.y)});
    }
    canvas.polyline(points, strokes[i], lines[i].label);
  }
}

void draw_legend(Canvas& canvas, Point corner, const std::vector<FrontierLine>& lines,
                 const std::vector<Stroke>& strokes) {
  double y = corner.y;
  const auto entry = [&](const Stroke& stroke, const std::string& label) {
    canvas.straight({corner.x, y}, {corner.x + legend_sample, y}, stroke);
    canvas.text({corner.x + legend_sample + 8, y + 4}, "start", label);
    y += legend_row;
  };
  for (size_t i = 0; i < lines.size(); ++i) {
    entry(strokes[i], lines[i].label);
  }
  entry(held_out_stroke, held_out_name);
}

double legend_height(const std::vector<FrontierLine>& lines) {
  return legend_row * static_cast<double>(lines.size() + 1);
}

}  // namespace

std::string frontier_svg(const std::string& title, const std::vector<FrontierLine>& lines, const Quality& held_out) {
  const std::vector<Stroke> strokes = choose_strokes(lines);
  constexpr size_t panels_down = (measures.size() + panels_across - 1) / panels_across;
  const double panels_right = margin + panel_width * panels_across;
  const double height = std::max(panel_height * panels_down, plot_top + legend_height(lines));
  Canvas canvas(panels_right + legend_width + 2 * margin, title_height + height + 2 * margin);
  canvas.heading({margin, margin + 14}, 15, title);
  for (size_t i = 0; i < measures.size(); ++i) {
    const size_t column = i % panels_across, row = i / panels_across;
    const Point corner{margin + panel_width * static_cast<double>(column),
                       margin + title_height + panel_height * static_cast<double>(row)};
    draw_panel(canvas, make_panel(measures[i], lines, held_out), corner, lines, strokes);
  }
  draw_legend(canvas, {panels_right + margin, margin + title_height + plot_top}, lines, strokes);
  return canvas.finish();
}

}  // namespace demask::quality

#include "bench/scaling.h"

#include <fmt/format.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "bench/case_run.h"
#include "bench/cases.h"
#include "bench/table.h"
#include "bench/timing.h"

namespace demask::bench {
namespace {

struct Point {
  int64_t samples = 0;
  int64_t length = 0;
  int64_t iterations = 0;
};

struct Axis {
  const char* name;
  int64_t Point::*member;
  std::vector<int64_t> values;
};

std::vector<std::string> arguments(const std::string& checkpoint, const Point& point, const Options& options) {
  return complete_arguments(diffusion_arguments(checkpoint, point.length, point.iterations, true), point.samples,
                            passed_through(options));
}

}  // namespace

nlohmann::ordered_json run_scaling(const std::string& checkpoint, const Options& options, std::FILE* file) {
  // What stays the same while one number grows: small on the CPU, where the largest points take minutes otherwise.
  const Point usual = options.device.is_cuda() ? Point{16, 512, 50} : Point{1, 64, 10};
  std::vector<int64_t> lengths = {64, 128, 256, 512};
  if (Loaded(arguments(checkpoint, usual, options)).context().model->info().block_size >= 1024) {
    lengths.push_back(1024);
  }
  const std::vector<Axis> axes = {{"iterations", &Point::iterations, {10, 20, 50, 100}},
                                  {"samples", &Point::samples, {1, 4, 16, 64}},
                                  {"length", &Point::length, lengths}};

  auto results = nlohmann::ordered_json::array();
  fmt::print(file, "\nScaling of {}: {} samples, {} tokens, {} iterations, except for what grows\n", checkpoint,
             usual.samples, usual.length, usual.iterations);
  Table table(file, {{"grows", 12}, {"to", 6}, {"seconds", 9}, {"min", 9}, {"max", 9}, {"number x", 8}, {"time x", 8}});
  for (const Axis& axis : axes) {
    std::optional<double> before;
    std::optional<int64_t> value_before;
    for (const int64_t value : axis.values) {
      Point point = usual;
      point.*axis.member = value;
      const Loaded loaded(arguments(checkpoint, point, options));
      const std::vector<double> every = time_draws(loaded, options.repeats);
      const Spread seconds = spread(every);
      nlohmann::ordered_json result = {{"grows", axis.name},
                                       {"samples", point.samples},
                                       {"length", point.length},
                                       {"iterations", point.iterations},
                                       {"seconds", spread_json(every)}};
      std::optional<double> growth, cost;
      if (before) {
        growth = static_cast<double>(value) / static_cast<double>(*value_before);
        cost = seconds.median / *before;
        result["relative_to_row_before"] = *cost;
      }
      table.row({axis.name, fmt::format("{}", value), show_seconds(seconds.median), show_seconds(seconds.least),
                 show_seconds(seconds.most), show(growth, 2), show(cost, 2)});
      results.push_back(result);
      before = seconds.median;
      value_before = value;
    }
  }
  return results;
}

}  // namespace demask::bench

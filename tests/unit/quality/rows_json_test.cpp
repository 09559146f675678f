#include "bench/quality/rows_json.h"

#include <cmath>
#include <string>

#include "core/json.h"
#include "tests/support/catch.h"

using namespace demask::quality;
using Json = nlohmann::ordered_json;

namespace {

Measured measured(double distance) {
  Measured measured;
  measured.texts = 3;
  measured.quality.judge_nats = {1.25, 0.5, 0.25};
  measured.quality.word_share = {0.75, 0.125};  // one seed: no error over seeds
  measured.quality.distance = {distance, 0.5, 0.5};
  measured.quality.longest_run = 7;
  measured.quality.repeating = 2;
  return measured;
}

Json row(const std::string& strategy, const Json& asked, const Json& temperature, double forwards) {
  Json json = {{"strategy", strategy}, {"forwards_asked", asked}, {"temperature", temperature}, {"forwards", forwards}};
  json.update(measured_json(measured(forwards)));
  return json;
}

}  // namespace

TEST_CASE("a row's quality comes back from a file as it was written, numbers that are none too") {
  const Measured before = measured(2.5);
  const Quality after = quality_of(Json::parse(demask::dump_json(measured_json(before), 2)));
  for (const Measure& measure : measures) {
    const Estimate &left = before.quality.*measure.estimate, &right = after.*measure.estimate;
    for (const auto part : {&Estimate::value, &Estimate::standard_error, &Estimate::seeds_error}) {
      INFO(measure.key);
      CHECK((left.*part == right.*part || (std::isnan(left.*part) && std::isnan(right.*part))));
    }
  }
  CHECK(after.longest_run == 7);
  CHECK(after.repeating == 2);
  CHECK_THROWS_AS(quality_of(Json::object()), Json::exception);
}

TEST_CASE("rows of one strategy are one line by their forwards, whatever stands between them") {
  const Json rows = {row("b", 64, nullptr, 65),
                     row("autoregressive", nullptr, 0.8, 255),
                     row("a", 32, 0.5, 33),
                     row("b", 16, nullptr, 17),
                     row("a", 32, 1, 33),
                     {{"strategy", "c"}, {"forwards_asked", 8}, {"temperature", nullptr}, {"failed", "no memory"}}};
  const std::vector<FrontierLine> lines = lines_of(rows);
  REQUIRE(lines.size() == 5);
  CHECK(lines[0].label == "b");
  REQUIRE(lines[0].points.size() == 2);
  CHECK(lines[0].points[0].forwards == 17);
  CHECK(lines[0].points[1].quality.distance.value == 65);
  CHECK(lines[1].label == "autoregressive");
  CHECK(lines[2].label == "a, T 0.5");
  CHECK(lines[3].label == "a, T 1");
  CHECK(lines[4].label == "c");
  CHECK(lines[4].points.empty());
}

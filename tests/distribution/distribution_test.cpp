// The texts are distributed as the Python script's are: mean self-confidence, over 32 samples measured on the original
// and 16 here, which take half the time and widen the bound by a fifth.
#include <cmath>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/demask.h"

using namespace demask::testing;

namespace {

constexpr int samples = 16;

struct Reference {
  bool intelligent;
  int iterations;
  double mean;            // of self-confidence, nats per token
  double standard_error;  // of that mean
};

struct Estimate {
  double mean;
  double standard_error;
};

Estimate estimate_confidence(const Reference& reference, const std::string& device) {
  const TemporaryFolder folder;
  const std::string output = folder / "samples.jsonl";
  const ProcessResult result =
      demask::testing::demask({"--checkpoint_name=diffusion.pt", "--num_samples=" + std::to_string(samples),
                               "--sequence_length=256", "--temperature=0.8", "--randomness_strength=0.4",
                               "--diffusion_iterations=" + std::to_string(reference.iterations),
                               "--intelligent_remasking=" + std::string(reference.intelligent ? "True" : "False"),
                               "--device=" + device, "--show_progress=False", "--output=" + output},
                              {});
  INFO(result.err);
  REQUIRE(result.exit_code == 0);
  double sum = 0, squares = 0;
  int count = 0;
  for (const auto& sample : read_json_lines(output)) {
    const double confidence = sample["self_confidence"];
    sum += confidence;
    squares += confidence * confidence;
    ++count;
  }
  REQUIRE(count == samples);
  const double mean = sum / count;
  return {mean, std::sqrt((squares / count - mean * mean) / (count - 1))};
}

}  // namespace

TEST_CASE("Mean self-confidence is the original script's within four standard errors") {
  for (const std::string& device : devices()) {
    for (const Reference& reference : {Reference{false, 16, -0.363, 0.016}, Reference{false, 32, -0.230, 0.013},
                                       Reference{true, 16, -0.038, 0.005}, Reference{true, 32, -0.018, 0.002}}) {
      const Estimate estimate = estimate_confidence(reference, device);
      CAPTURE(device, reference.intelligent, reference.iterations, estimate.mean, estimate.standard_error);
      CHECK(std::abs(estimate.mean - reference.mean) <
            4 * std::hypot(estimate.standard_error, reference.standard_error));
    }
  }
}

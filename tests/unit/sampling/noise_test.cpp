#include "sampling/noise.h"

#include <ATen/ATen.h>

#include <cmath>

#include "model/device.h"
#include "tests/support/catch.h"

using demask::Purpose;
using demask::Stream;
using demask::Streams;
using demask::uniform;
using demask::uniform_at;

namespace {

at::Tensor indices(std::vector<int64_t> values) {
  return at::tensor(values, at::kLong);
}

Streams streams(uint64_t seed, const at::Tensor& samples) {
  return {at::full_like(samples, static_cast<int64_t>(seed)), samples};
}

}  // namespace

TEST_CASE("A sample's noise does not depend on the samples beside it") {
  const at::Tensor many = uniform(streams(1337, at::arange(8, at::kLong)), indices({3}), 101, Purpose::draw);
  const at::Tensor alone = uniform(streams(1337, indices({5})), indices({3}), 101, Purpose::draw);
  CHECK(at::equal(many[5], alone[0]));
}

TEST_CASE("Seed, sample, step, position and purpose each change the noise") {
  const int64_t far_apart = int64_t{1} << 40;
  const float base = uniform_at({1, 2}, 3, 4, Purpose::draw);
  CHECK(base != uniform_at({2, 2}, 3, 4, Purpose::draw));
  CHECK(base != uniform_at({1 + (uint64_t{1} << 32), 2}, 3, 4, Purpose::draw));
  CHECK(base != uniform_at({1, 3}, 3, 4, Purpose::draw));
  CHECK(base != uniform_at({1, 2 + far_apart}, 3, 4, Purpose::draw));
  CHECK(base != uniform_at({1, 2}, 4, 4, Purpose::draw));
  CHECK(base != uniform_at({1, 2}, 3, 5, Purpose::draw));
  CHECK(base != uniform_at({1, 2}, 3, 4, Purpose::remask));
}

TEST_CASE("Host and tensor arithmetic give the same bits") {
  const std::vector<int64_t> samples = {0, 7, (int64_t{1} << 32) + 5, (int64_t{1} << 55) + 1};
  const uint64_t seed = 0xDEADBEEFCAFEBABE;
  const at::Tensor host = uniform(streams(seed, indices(samples)), indices({42}), 11, Purpose::remask);
  for (size_t b = 0; b < samples.size(); ++b) {
    for (int64_t position = 0; position < 11; ++position) {
      REQUIRE(host[static_cast<int64_t>(b)][position].item<float>() ==
              uniform_at({seed, samples[b]}, 42, position, Purpose::remask));
    }
  }
  CHECK(
      at::equal(host, demask::uniform_by_tensors(streams(seed, indices(samples)), indices({42}), 11, Purpose::remask)));
  if (demask::cuda_device_count() > 0) {
    const at::Tensor on_device = indices(samples).to(at::kCUDA);
    CHECK(at::equal(
        host,
        demask::uniform_by_tensors(streams(seed, on_device), indices({42}).to(at::kCUDA), 11, Purpose::remask).cpu()));
    CHECK(at::equal(host, uniform(streams(seed, on_device), indices({42}).to(at::kCUDA), 11, Purpose::remask).cpu()));
  }
}

TEST_CASE("Every row has its own seed and step") {
  const Streams rows = demask::to_tensors({{7, 3}, {8, 3}, {uint64_t{1} << 63, 4}});
  const at::Tensor steps = indices({0, 5, 9});
  const at::Tensor host = uniform(rows, steps, 6, Purpose::draw);
  CHECK(host[0][5].item<float>() == uniform_at({7, 3}, 0, 5, Purpose::draw));
  CHECK(host[1][0].item<float>() == uniform_at({8, 3}, 5, 0, Purpose::draw));
  CHECK(host[2][2].item<float>() == uniform_at({uint64_t{1} << 63, 4}, 9, 2, Purpose::draw));
  CHECK(at::equal(host, demask::uniform_by_tensors(rows, steps, 6, Purpose::draw)));
  if (demask::cuda_device_count() > 0) {
    const Streams there{rows.seeds.cuda(), rows.indices.cuda()};
    CHECK(at::equal(host, uniform(there, steps.cuda(), 6, Purpose::draw).cpu()));
  }
}

TEST_CASE("Noise is uniform: a chi-square over 64 bins of 65,536 numbers") {
  const at::Tensor values =
      uniform(streams(1337, at::arange(64, at::kLong)), indices({0}), 1024, Purpose::draw).flatten();
  const at::Tensor counts = at::histc(values, 64, 0, 1).to(at::kDouble);
  const double expected = 1024.0;
  const double chi_square = ((counts - expected).square() / expected).sum().item<double>();
  // 63 degrees of freedom: mean 63, standard deviation sqrt(126); five of them either side.
  CHECK(std::abs(chi_square - 63.0) < 5 * std::sqrt(126.0));
}

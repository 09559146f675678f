// Panels of the CPU kernels hold what they are made of, and layers without panels compute the same.
#include <ATen/ATen.h>

#include <limits>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels/cpu.h"
#include "tests/support/catch.h"

namespace panels_test {
namespace {

using namespace demask::kernels::cpu;

std::vector<const Isa*> those_here(const std::vector<const Isa*>& all) {
  std::vector<const Isa*> isas;
  for (const Isa* isa : all) {
    if (isa != nullptr) {
      isas.push_back(isa);
    }
  }
  return isas;
}

at::ScalarType element_type(const Isa& isa) {
  return isa.element_bytes == 2 ? at::kBFloat16 : at::kFloat;
}

Linear packed(const Isa& isa, const at::Tensor& weight, const at::Tensor& bias) {
  LargePages pages;
  return pack(isa, weight, bias, pages);
}

}  // namespace

TEST_CASE("Panels hold every weight, rounded to the nearest element, whatever the shape") {
  at::manual_seed(1337);
  for (const Isa* isa : those_here({avx2_float(), avx512_float(), avx512_bfloat16()})) {
    for (const auto& [inner, outputs] :
         std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {31, 40}, {64, 96}, {100, 65}, {768, 64}}) {
      CAPTURE(isa->name, inner, outputs);
      // Denormals, infinity and ties of rounding among them.
      at::Tensor weight = at::randn({outputs, inner});
      weight.view({-1}).narrow(0, 0, 1).fill_(1e-39);
      weight.select(0, outputs - 1).fill_(1.0F + 0x1p-8F);
      weight.select(0, outputs / 2).fill_(std::numeric_limits<float>::infinity());
      const Linear linear = packed(*isa, weight, {});
      const at::Tensor expected = weight.to(element_type(*isa)).to(at::kFloat), found = at::empty({outputs, inner});
      for (int64_t output = 0; output < outputs; ++output) {
        weights_of(*isa, linear, output, found.data_ptr<float>() + output * inner);
      }
      CHECK(at::equal(found, expected));
    }
  }
}

TEST_CASE("A layer that is kept as it is stored multiplies with the bits of its panels, and gives the same weights") {
  at::manual_seed(1337);
  for (const Isa* isa : those_here({avx2_float(), avx512_float(), avx512_bfloat16(), avx2_int8(), avx_vnni(),
                                    avx512_vnni(), portable_int8()})) {
    for (const auto& [rows, inner, outputs] :
         std::vector<std::tuple<int64_t, int64_t, int64_t>>{{1, 16, 1}, {5, 62, 66}, {13, 256, 768}, {37, 1024, 40}}) {
      CAPTURE(isa->name, rows, inner, outputs);
      const at::Tensor a = at::randn({rows, inner}).to(element_type(*isa)), bias = at::randn({outputs});
      // Where tensors begin in a file, at any float.
      const at::Tensor weight = at::randn({outputs * inner + 1}).narrow(0, 1, outputs * inner).view({outputs, inner});
      const Linear panels = packed(*isa, weight, bias), stored = keep_as_stored(*isa, weight, bias);
      for (const Epilogue epilogue : {Epilogue::store, Epilogue::store_single, Epilogue::add, Epilogue::gelu,
                                      Epilogue::gelu_tanh, Epilogue::silu}) {
        const bool single = epilogue == Epilogue::store_single || epilogue == Epilogue::add;
        const at::Tensor before = at::randn({rows, outputs}).to(single ? at::kFloat : element_type(*isa));
        const auto run = [&](const Linear& linear) {
          at::Tensor out = before.clone();
          product(*isa, linear, {a.data_ptr(), a.size(1), a.size(0)}, epilogue, out.data_ptr(), out.size(1));
          return out;
        };
        CHECK(at::equal(run(stored), run(panels)));
      }
      const at::Tensor of_panels = at::empty({inner}), of_stored = at::empty({inner});
      for (int64_t output = 0; output < outputs; ++output) {
        weights_of(*isa, panels, output, of_panels.data_ptr<float>());
        weights_of(*isa, stored, output, of_stored.data_ptr<float>());
        CHECK(at::equal(of_stored, of_panels));
      }
    }
  }
}

}  // namespace panels_test

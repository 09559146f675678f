// The CPU kernels of every instruction set that this machine has, against float64.
#include "kernels/cpu.h"

#include <ATen/ATen.h>

#include <atomic>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/support/catch.h"

using namespace demask::kernels::cpu;

namespace {

// Outside the element type's own rounding, which the reference shares, what is left is float32's.
constexpr double tolerance = 3e-6;

std::vector<const Isa*> isas_here() {
  std::vector<const Isa*> isas;
  for (const Isa* isa : {avx2_float(), avx512_float(), avx512_bfloat16()}) {
    if (isa != nullptr) {
      isas.push_back(isa);
    }
  }
  return isas;
}

at::ScalarType element_type(const Isa& isa) {
  return isa.element_bytes == 2 ? at::kBFloat16 : at::kFloat;
}

at::Tensor random_elements(const Isa& isa, const std::vector<int64_t>& shape) {
  return at::randn(shape).to(element_type(isa));
}

// By how much elements may differ from float64: half a unit in the last place of the largest, and the sum's rounding.
double rounding(const Isa& isa, const at::Tensor& exact) {
  const double largest = exact.abs().max().item<double>();
  return largest * (isa.element_bytes == 2 ? 0x1p-8 : 0.0) + tolerance * std::max(largest, 1.0);
}

Linear packed(const Isa& isa, const at::Tensor& weight, const at::Tensor& bias) {
  LargePages pages;
  return pack(isa, weight, bias, pages);
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

at::Tensor exact_gelu(const at::Tensor& x) {
  return x * 0.5 * (1 + at::erf(x / std::sqrt(2.0)));
}

at::Tensor exact_tanh_gelu(const at::Tensor& x) {
  return x * 0.5 * (1 + at::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x.pow(3))));
}

at::Tensor exact_silu(const at::Tensor& x) {
  return x / (1 + at::exp(-x));
}

struct Activation {
  Epilogue plain, gated;
  at::Tensor (*exact)(const at::Tensor& x);
};

const std::vector<Activation> activations = {{Epilogue::gelu, Epilogue::gated_gelu, exact_gelu},
                                             {Epilogue::gelu_tanh, Epilogue::gated_gelu_tanh, exact_tanh_gelu},
                                             {Epilogue::silu, Epilogue::gated_silu, exact_silu}};

struct Attention {
  int64_t length, head_width;
  bool causal;
};

// [T, D] each, in float64.
at::Tensor exact_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool causal) {
  at::Tensor scores = at::mm(q, k.t()) / std::sqrt(static_cast<double>(q.size(1)));
  if (causal) {
    scores = scores.masked_fill(at::ones_like(scores, at::kBool).triu(1), -std::numeric_limits<double>::infinity());
  }
  return at::mm(at::softmax(scores, -1), v);
}

struct PackedHead {
  at::Tensor keys, values;  // bytes
  int64_t capacity = 0;
};

// qkv [T, 3D]
PackedHead pack_head(const Isa& isa, const at::Tensor& qkv, int64_t head_width, int64_t first, int64_t count,
                     PackedHead head = {}) {
  if (head.capacity == 0) {
    head.capacity = (qkv.size(0) + isa.columns - 1) / isa.columns * isa.columns;
    const int64_t panels = (head_width + isa.columns - 1) / isa.columns;
    head.keys = at::zeros({head.capacity * head_width * isa.element_bytes}, at::kByte);
    head.values = at::zeros({head.capacity * panels * isa.columns * isa.element_bytes}, at::kByte);
  }
  const at::Tensor rows = qkv.narrow(0, first, count);
  const char* data = static_cast<const char*>(rows.data_ptr());
  isa.pack_keys(data + head_width * isa.element_bytes, data + 2 * head_width * isa.element_bytes, 3 * head_width, first,
                count, head_width, head.capacity, head.keys.data_ptr(), head.values.data_ptr());
  return head;
}

at::Tensor attend(const Isa& isa, const at::Tensor& qkv, const PackedHead& head, const Attention& shape, int64_t first,
                  int64_t count, const std::vector<int64_t>& chosen = {}) {
  const int64_t rows = chosen.empty() ? count : static_cast<int64_t>(chosen.size());
  at::Tensor out = at::full({rows, shape.head_width}, std::nan(""), qkv.options());
  const at::Tensor scratch = at::zeros({isa.attend_scratch(shape.head_width, head.capacity)}, at::kByte);
  AttendArguments arguments;
  arguments.queries = static_cast<const char*>(qkv.data_ptr()) + first * 3 * shape.head_width * isa.element_bytes;
  arguments.query_stride = 3 * shape.head_width;
  arguments.chosen = chosen.empty() ? nullptr : chosen.data();
  arguments.keys = head.keys.data_ptr();
  arguments.values = head.values.data_ptr();
  arguments.rows = rows;
  arguments.head_width = shape.head_width;
  arguments.capacity = head.capacity;
  arguments.known = first + count;
  arguments.first_position = first;
  arguments.causal = shape.causal;
  arguments.scratch = scratch.data_ptr();
  arguments.out = out.data_ptr();
  arguments.out_stride = shape.head_width;
  isa.attend(arguments);
  return out;
}

}  // namespace

TEST_CASE("A product adds its bias and finishes as asked, whatever the shape") {
  at::manual_seed(1337);
  for (const Isa* isa : isas_here()) {
    for (const auto& [rows, inner, outputs] :
         std::vector<std::tuple<int64_t, int64_t, int64_t>>{{1, 16, 1}, {5, 64, 66}, {13, 256, 768}, {37, 1024, 40}}) {
      CAPTURE(isa->name, rows, inner, outputs);
      const at::Tensor a = random_elements(*isa, {rows, inner}), bias = at::randn({outputs});
      const at::Tensor weight = random_elements(*isa, {outputs, inner}).div(std::sqrt(static_cast<double>(inner)));
      const Linear linear = packed(*isa, weight, bias);
      const at::Tensor exact = at::mm(a.to(at::kDouble), weight.to(at::kDouble).t()) + bias.to(at::kDouble);
      const auto run = [&](Epilogue epilogue, at::Tensor out) {
        product(*isa, linear, {a.data_ptr(), a.size(1), a.size(0)}, epilogue, out.data_ptr(), out.size(1));
        return out;
      };
      const at::Tensor single = at::full({rows, outputs}, std::nan(""), at::kFloat);
      CHECK(largest_difference(run(Epilogue::store_single, single), exact) < tolerance * 4);
      const at::Tensor elements = at::full({rows, outputs}, std::nan(""), element_type(*isa));
      CHECK(largest_difference(run(Epilogue::store, elements), exact) < rounding(*isa, exact));
      for (const Activation& activation : activations) {
        CHECK(largest_difference(run(activation.plain, elements), activation.exact(exact)) < rounding(*isa, exact));
      }
      const at::Tensor before = at::randn({rows, outputs});
      CHECK(largest_difference(run(Epilogue::add, before.clone()), before.to(at::kDouble) + exact) < tolerance * 4);
    }
  }
}

TEST_CASE("Gates let through what their activation says, whatever the shape") {
  at::manual_seed(1337);
  for (const Isa* isa : isas_here()) {
    for (const auto& [rows, inner, outputs] :
         std::vector<std::tuple<int64_t, int64_t, int64_t>>{{1, 16, 1}, {5, 64, 66}, {13, 256, 768}, {37, 1024, 40}}) {
      CAPTURE(isa->name, rows, inner, outputs);
      const at::Tensor a = random_elements(*isa, {rows, inner}), bias = at::randn({2 * outputs});
      const at::Tensor weight = random_elements(*isa, {2 * outputs, inner}).div(std::sqrt(static_cast<double>(inner)));
      const at::Tensor sums = at::mm(a.to(at::kDouble), weight.to(at::kDouble).t());
      for (const at::Tensor& shift : {bias, at::Tensor()}) {
        LargePages pages;
        const Linear linear = pack_gated(*isa, weight, shift, pages);
        const at::Tensor both = shift.defined() ? sums + shift.to(at::kDouble) : sums;
        for (const Activation& activation : activations) {
          const at::Tensor exact = activation.exact(both.narrow(1, 0, outputs)) * both.narrow(1, outputs, outputs);
          at::Tensor out = at::full({rows, outputs + 1}, std::nan(""), element_type(*isa));
          product(*isa, linear, {a.data_ptr(), inner, rows}, activation.gated, out.data_ptr(), outputs + 1);
          CHECK(largest_difference(out.narrow(1, 0, outputs), exact) < 2 * rounding(*isa, exact));
          CHECK(out.select(1, outputs).isnan().all().item<bool>());  // nothing past the outputs
        }
      }
    }
  }
}

TEST_CASE("Activations are those of float64 over the whole range, to 1e-6 of their size") {
  for (const Isa* isa : isas_here()) {
    if (isa->element_bytes == 2) {
      continue;
    }
    CAPTURE(isa->name);
    const int64_t count = 4000;
    const at::Tensor x = at::linspace(-30, 30, count).unsqueeze(1), one = at::ones({1, 1});
    const at::Tensor size = x.to(at::kDouble).clamp_min(1);
    for (const Activation& activation : activations) {
      at::Tensor out = at::empty({count, 1});
      product(*isa, packed(*isa, one, {}), {x.data_ptr(), 1, count}, activation.plain, out.data_ptr(), 1);
      CHECK(largest_difference(out / size, activation.exact(x.to(at::kDouble)) / size) < 1e-6);
    }
  }
}

TEST_CASE("A row of a product is the same bits whatever rows are computed beside it") {
  at::manual_seed(1337);
  for (const Isa* isa : isas_here()) {
    CAPTURE(isa->name);
    const at::Tensor a = random_elements(*isa, {40, 128});
    const Linear linear = packed(*isa, random_elements(*isa, {70, 128}), at::randn({70}));
    const auto run = [&](int64_t first, int64_t rows) {
      at::Tensor out = at::empty({rows, 70});
      product(*isa, linear, {a[first].data_ptr(), 128, rows}, Epilogue::store_single, out.data_ptr(), 70);
      return out;
    };
    const at::Tensor together = run(0, 40);
    for (const auto& [first, rows] : std::vector<std::pair<int64_t, int64_t>>{{0, 1}, {7, 5}, {11, 13}, {39, 1}}) {
      CHECK(at::equal(run(first, rows), together.narrow(0, first, rows)));
    }
  }
}

TEST_CASE("Attention agrees with float64, alone, in parts and over a cache that grows") {
  at::manual_seed(1337);
  for (const Isa* isa : isas_here()) {
    for (const Attention& shape : {Attention{1, 64, false},
                                   {7, 8, true},
                                   {100, 64, false},
                                   {100, 64, true},
                                   {333, 48, true},
                                   {1030, 32, false},
                                   {65, 130, true}}) {
      CAPTURE(isa->name, shape.length, shape.head_width, shape.causal);
      const int64_t length = shape.length, width = shape.head_width;
      const at::Tensor qkv = random_elements(*isa, {length, 3 * width});
      const auto part = [&](int64_t i) { return qkv.narrow(1, i * width, width).to(at::kDouble); };
      const at::Tensor exact = exact_attention(part(0), part(1), part(2), shape.causal);
      const PackedHead head = pack_head(*isa, qkv, width, 0, length);
      const at::Tensor whole = attend(*isa, qkv, head, shape, 0, length);
      // In bfloat16 the weights are rounded too, each to 2^-9 of itself.
      CHECK(largest_difference(whole, exact) < 2 * rounding(*isa, exact));

      const std::vector<int64_t> chosen = {length - 1, length / 2, 0};
      const at::Tensor picked = attend(*isa, qkv, head, shape, 0, length, chosen);
      for (size_t i = 0; i < chosen.size(); ++i) {
        CHECK(at::equal(picked[static_cast<int64_t>(i)], whole[chosen[i]]));
      }

      if (shape.causal) {
        PackedHead grown;
        for (int64_t first = 0; first < length;) {
          const int64_t count = first == 0 ? std::max<int64_t>(length / 2, 1) : 1;
          grown = pack_head(*isa, qkv, width, first, count, grown);
          REQUIRE(at::equal(attend(*isa, qkv, grown, shape, first, count), whole.narrow(0, first, count)));
          first += count;
        }
      }
    }
  }
}

TEST_CASE("Attention weights stay finite where scores are far apart") {
  for (const Isa* isa : isas_here()) {
    CAPTURE(isa->name);
    const at::Tensor qkv = at::zeros({50, 3 * 16});
    qkv.narrow(1, 0, 16).fill_(100);
    qkv.narrow(1, 16, 16).copy_(at::linspace(-100, 100, 50).unsqueeze(1).expand({50, 16}));
    qkv.narrow(1, 32, 16).copy_(at::arange(50).unsqueeze(1).expand({50, 16}));
    const at::Tensor elements = qkv.to(element_type(*isa));
    const at::Tensor out = attend(*isa, elements, pack_head(*isa, elements, 16, 0, 50), {50, 16, false}, 0, 50);
    CHECK(at::equal(out.to(at::kFloat), at::full({50, 16}, 49.0F)));  // the last key outweighs all others
  }
}

TEST_CASE("The norm is LayerNorm, with and without a bias, at any width") {
  at::manual_seed(1337);
  for (const Isa* isa : isas_here()) {
    for (const int64_t width : {2, 24, 256, 1001}) {
      CAPTURE(isa->name, width);
      const at::Tensor x = at::randn({5, width}).mul(3).add(2), weight = at::randn({width}), bias = at::randn({width});
      for (const at::Tensor& shift : {bias, at::Tensor()}) {
        at::Tensor out = at::full({5, width}, std::nan(""), element_type(*isa));
        isa->norm(x.data_ptr<float>(), weight.data_ptr<float>(), shift.defined() ? shift.data_ptr<float>() : nullptr, 5,
                  width, 1e-5F, out.data_ptr(), width);
        const at::Tensor exact =
            at::layer_norm(x.to(at::kDouble), {width}, weight.to(at::kDouble),
                           shift.defined() ? shift.to(at::kDouble) : at::zeros({width}, at::kDouble), 1e-5);
        CHECK(largest_difference(out, exact) < rounding(*isa, exact));
      }
    }
  }
}

TEST_CASE("RMSNorm agrees with float64, of whole rows and head by head") {
  at::manual_seed(1337);
  for (const Isa* isa : isas_here()) {
    for (const int64_t width : {2, 24, 256, 1001}) {
      for (const double epsilon : {1e-6, 0.5}) {
        CAPTURE(isa->name, width, epsilon);
        const at::Tensor x = at::randn({5, 3 * width}), weight = at::randn({width});
        const auto exact = [&](const at::Tensor& rows) {
          const at::Tensor wide = rows.to(at::kDouble);
          return wide / (wide.square().mean(-1, true) + epsilon).sqrt() * weight.to(at::kDouble);
        };
        const at::Tensor row = x.narrow(1, 0, width).contiguous();
        at::Tensor out = at::full({5, width}, std::nan(""), element_type(*isa));
        isa->rms_norm(row.data_ptr<float>(), weight.data_ptr<float>(), 5, width, static_cast<float>(epsilon),
                      out.data_ptr(), width);
        CHECK(largest_difference(out, exact(row)) < rounding(*isa, exact(row)));

        at::Tensor heads = x.clone();  // the first two of three
        isa->rms_norm_heads(heads.data_ptr<float>(), 3 * width, 5, 2, width, weight.data_ptr<float>(),
                            static_cast<float>(epsilon));
        const at::Tensor two = exact(x.narrow(1, 0, 2 * width).reshape({5, 2, width})).view({5, 2 * width});
        CHECK(largest_difference(heads.narrow(1, 0, 2 * width), two) <
              tolerance * std::max(1.0, two.abs().max().item<double>()));
        CHECK(at::equal(heads.narrow(1, 2 * width, width), x.narrow(1, 2 * width, width)));
      }
    }
  }
}

TEST_CASE("Query heads that share keys are attended as each would be by itself") {
  at::manual_seed(1337);
  for (const Isa* isa : isas_here()) {
    for (const Attention& shape : {Attention{40, 16, true}, {200, 24, true}, {70, 64, false}}) {
      CAPTURE(isa->name, shape.length, shape.head_width, shape.causal);
      constexpr int64_t group = 5;
      const int64_t length = shape.length, width = shape.head_width;
      const at::Tensor queries = random_elements(*isa, {length, group, width}),
                       qkv = random_elements(*isa, {length, 3 * width});
      const PackedHead head = pack_head(*isa, qkv, width, 0, length);
      const auto run = [&](const at::Tensor& own, int64_t heads, const std::vector<int64_t>& chosen) {
        const int64_t rows = chosen.empty() ? length : static_cast<int64_t>(chosen.size());
        at::Tensor out = at::full({rows, heads, width}, std::nan(""), qkv.options());
        const at::Tensor scratch = at::zeros({isa->attend_scratch(width, head.capacity)}, at::kByte);
        AttendArguments arguments;
        arguments.queries = own.data_ptr();
        arguments.query_stride = heads * width;
        arguments.chosen = chosen.empty() ? nullptr : chosen.data();
        arguments.keys = head.keys.data_ptr();
        arguments.values = head.values.data_ptr();
        arguments.rows = rows;
        arguments.head_width = width;
        arguments.group = heads;
        arguments.capacity = head.capacity;
        arguments.known = length;
        arguments.causal = shape.causal;
        arguments.scratch = scratch.data_ptr();
        arguments.out = out.data_ptr();
        arguments.out_stride = heads * width;
        isa->attend(arguments);
        return out;
      };
      const at::Tensor together = run(queries, group, {});
      for (int64_t each = 0; each < group; ++each) {
        const at::Tensor alone = run(queries.select(1, each).contiguous(), 1, {});
        CHECK(at::equal(together.select(1, each), alone.squeeze(1)));
      }
      const std::vector<int64_t> chosen = {length - 1, 3};
      const at::Tensor picked = run(queries, group, chosen);
      CHECK(at::equal(picked[0], together[length - 1]));
      CHECK(at::equal(picked[1], together[3]));
    }
  }
}

TEST_CASE("Rotation turns each half's pair by its position's angle") {
  at::manual_seed(1337);
  for (const Isa* isa : isas_here()) {
    for (const int64_t half : {3, 16, 32}) {
      CAPTURE(isa->name, half);
      const int64_t rows = 9, length = 4, heads = 2;
      const at::Tensor x = at::randn({rows, heads, 2, half}), angles = at::randn({10, half});
      const at::Tensor cosine = angles.cos(), sine = angles.sin();
      at::Tensor turned = x.clone();
      // Rows 6 to 14 of texts of four tokens, the first of which stands at position 3.
      isa->rotate(turned.data_ptr<float>(), heads * 2 * half, rows, 6, length, 3, heads, 2 * half,
                  cosine.data_ptr<float>(), sine.data_ptr<float>());
      for (int64_t row = 0; row < rows; ++row) {
        const int64_t position = 3 + (6 + row) % length;
        const at::Tensor a = x[row].select(1, 0), b = x[row].select(1, 1);
        CHECK(largest_difference(turned[row].select(1, 0), a * cosine[position] - b * sine[position]) < 1e-6);
        CHECK(largest_difference(turned[row].select(1, 1), b * cosine[position] + a * sine[position]) < 1e-6);
      }
    }
  }
}

#include "model/transformer.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/nanogpt_weights.h"
#include "model/device.h"
#include "tests/support/catch.h"
#include "tests/unit/model/small_gpt.h"

using namespace demask;

namespace transformer_test {
namespace {

const std::vector<std::string> shipped = {"diffusion.pt", "english.pt", "standard.pt", "remasking.pt"};

Transformer load(const std::string& path, at::ScalarType dtype = at::kFloat, at::Device device = at::kCPU,
                 KernelChoice kernels = KernelChoice::own) {
  return Transformer(nanogpt_weights(read_nanogpt_checkpoint(
                         std::string(DEMASK_SOURCE_DIR) + "/" + path,
                         [=](const at::Tensor& parameter) { return parameter.to(device, dtype); })),
                     {}, kernels);
}

std::vector<at::Device> devices() {
  return cuda_device_count() > 0 ? std::vector<at::Device>{at::kCPU, at::kCUDA} : std::vector<at::Device>{at::kCPU};
}

// Token ids that look random and are the same everywhere.
at::Tensor some_tokens(int64_t batch, int64_t length, int64_t ids) {
  return at::arange(batch * length, at::kLong).mul(7919).remainder(ids).view({batch, length});
}

double relative_error(const at::Tensor& value, const at::Tensor& reference) {
  const at::Tensor exact = reference.to(at::kDouble);
  return ((value.to(at::kDouble) - exact).norm() / exact.norm()).item<double>();
}

}  // namespace

TEST_CASE("float32 logits agree with float64") {
  for (const std::string& name : shipped) {
    CAPTURE(name);
    Transformer single = load("out/" + name), reference = load("out/" + name, at::kDouble);
    const at::Tensor tokens = some_tokens(2, 70, 65);
    const at::Tensor logits = single.logits(tokens);
    CHECK(logits.sizes() == at::IntArrayRef({2, 70, single.info().output_size}));
    CHECK(relative_error(logits, reference.logits(tokens)) < 1e-5);
  }
}

TEST_CASE("A copy for another device gives the same bits, without the model that it was made of") {
  for (const at::Device device : devices()) {
    auto model = std::make_unique<Transformer>(load("out/english.pt", at::kFloat, device, KernelChoice::libtorch));
    const at::Tensor tokens = some_tokens(2, 40, 65).to(device);
    const at::Tensor logits = model->logits(tokens);
    const std::unique_ptr<LanguageModel> copy = model->copy_to(device);
    REQUIRE(copy);
    const std::string description = std::exchange(model, nullptr)->info().description;
    CHECK(copy->info().description == description);
    CHECK(at::equal(copy->logits(tokens), logits));
  }
}

TEST_CASE("CUDA and CPU logits agree to 1e-3 in float32, and half precisions stay close") {
  if (cuda_device_count() == 0) {
    return;
  }
  for (const std::string& name : shipped) {
    CAPTURE(name);
    const at::Tensor tokens = some_tokens(3, 300, 65);
    const at::Tensor reference = load("out/" + name).logits(tokens);
    const auto on_cuda = [&](at::ScalarType dtype) {
      return load("out/" + name, dtype, at::kCUDA).logits(tokens.cuda()).cpu();
    };
    CHECK(relative_error(on_cuda(at::kFloat), reference) < 1e-3);
    CHECK(relative_error(on_cuda(at::kHalf), reference) < 1e-2);
    CHECK(relative_error(on_cuda(at::kBFloat16), reference) < 5e-2);
  }
}

TEST_CASE("demask's own kernels and LibTorch's give the same logits up to rounding") {
  for (const at::Device device : devices()) {
    for (const std::string& name : shipped) {
      Transformer own = load("out/" + name, at::kFloat, device);
      Transformer plain = load("out/" + name, at::kFloat, device, KernelChoice::libtorch);
      for (const auto& [texts, length] : {std::pair(3, 1), std::pair(3, 100), std::pair(1, 512)}) {
        CAPTURE(device.str(), name, length);
        const at::Tensor tokens = some_tokens(texts, length, 65).to(device);
        CHECK(relative_error(own.logits(tokens), plain.logits(tokens)) < (device.is_cpu() ? 1e-5 : 1e-3));
      }
    }
  }
}

TEST_CASE("Logits at some positions are the bits of logits at all") {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (const std::string& name : shipped) {
      if (kernels::cpu::find(dtype) == nullptr && name != shipped.front()) {
        continue;  // LibTorch's operations, slow ones in bfloat16, are the same for every model
      }
      CAPTURE(name, dtype);
      Transformer model = load("out/" + name, dtype);
      const at::Tensor tokens = some_tokens(3, 50, 65);
      const at::Tensor positions = some_tokens(3, 17, 50);
      const at::Tensor all = model.logits(tokens);
      const at::Tensor picked = all.gather(1, positions.unsqueeze(2).expand({-1, -1, all.size(2)}));
      CHECK(at::equal(model.logits_at(tokens, positions), picked));
    }
  }
}

TEST_CASE("bfloat16 on the CPU stays close to float32") {
  const at::Tensor tokens = some_tokens(2, 20, 65);
  CHECK(relative_error(load("out/diffusion.pt", at::kBFloat16).logits(tokens),
                       load("out/diffusion.pt").logits(tokens)) < 5e-2);
}

TEST_CASE("On the CPU a sample's logits are the same bits whatever runs beside it") {
  struct Form {
    at::ScalarType dtype;
    KernelChoice kernels;
  };
  std::vector<Form> forms = {{at::kFloat, KernelChoice::own}, {at::kFloat, KernelChoice::libtorch}};
  if (kernels::cpu::find(at::kBFloat16) != nullptr) {
    forms.push_back({at::kBFloat16, KernelChoice::own});
  }
  for (const Form& form : forms) {
    for (const std::string& name : shipped) {
      Transformer model = load("out/" + name, form.dtype, at::kCPU, form.kernels);
      for (const int64_t length : {1, 7, 70}) {
        CAPTURE(name, length, form.dtype);
        const at::Tensor tokens = some_tokens(5, length, 65);
        const at::Tensor together = model.logits(tokens);
        for (int64_t sample = 0; sample < 5; ++sample) {
          REQUIRE(at::equal(model.logits(tokens.narrow(0, sample, 1))[0], together[sample]));
        }
        // Texts that are all alike are computed once.
        const at::Tensor alike = tokens.narrow(0, 0, 1).expand({5, length});
        REQUIRE(at::equal(model.logits(alike), together.narrow(0, 0, 1).expand_as(together)));
      }
    }
  }
}

TEST_CASE("A causal model's position sees only those before it; a bidirectional one sees all") {
  const at::Tensor tokens = some_tokens(1, 50, 65);
  at::Tensor changed = tokens.clone();
  changed[0][40] = (tokens[0][40].item<int64_t>() + 1) % 65;
  const auto first_forty_change = [&](const std::string& name) {
    Transformer model = load("out/" + name);
    return relative_error(model.logits(changed).narrow(1, 0, 40), model.logits(tokens).narrow(1, 0, 40));
  };
  CHECK(first_forty_change("standard.pt") == 0);
  CHECK(first_forty_change("diffusion.pt") > 1e-4);
}

TEST_CASE("The key-value cache gives the logits of running the whole context again, past the block size too") {
  // The shipped model's widths suit the kernels, the little one's do not.
  std::vector<std::pair<std::string, at::Device>> cases = {{"tests/fixtures/checkpoints/training_float32.pt", at::kCPU},
                                                           {"out/standard.pt", at::kCPU}};
  if (cuda_device_count() > 0) {
    cases.emplace_back("tests/fixtures/checkpoints/training_float32.pt", at::kCUDA);
    cases.emplace_back("out/standard.pt", at::kCUDA);
  }
  for (const auto& [path, device] : cases) {
    Transformer model = load(path, at::kFloat, device);
    const int64_t block = model.info().block_size;
    const int64_t prompt = std::max<int64_t>(block - 4, 1);
    int64_t total = block + 3;
    const GrowingText text{some_tokens(2, total, 8).to(device),
                           at::full({1}, prompt - 1, at::device(device).dtype(at::kLong))};
    const std::unique_ptr<DecodingSession> cached = model.begin(text);
    const std::unique_ptr<DecodingSession> recomputed = model.LanguageModel::begin(text);
    for (int run = 0; run < 2; ++run) {  // a session can start again
      text.position.fill_(prompt - 1);
      cached->restart(prompt);
      recomputed->restart(prompt);
      total -= 4 * run;
      for (int64_t length = prompt; length < total; ++length) {
        CAPTURE(path, length);
        REQUIRE(relative_error(cached->next_logits(), recomputed->next_logits()) < 1e-5);
        text.position.add_(1);
        cached->advance();
        recomputed->advance();
      }
    }
  }
}

// Devices, precisions and kernels, and whether a text decoded with others has the bits that it has alone.
struct Form {
  at::Device device;
  at::ScalarType dtype;
  KernelChoice kernels;
  bool same_bits;
};

std::vector<Form> forms_of_decoding() {
  std::vector<Form> forms = {{at::kCPU, at::kFloat, KernelChoice::own, kernels::cpu::find(at::kFloat) != nullptr},
                             {at::kCPU, at::kBFloat16, KernelChoice::own, kernels::cpu::find(at::kBFloat16) != nullptr},
                             {at::kCPU, at::kFloat, KernelChoice::libtorch, false}};
  if (cuda_device_count() > 0) {
    forms.push_back({at::kCUDA, at::kFloat, KernelChoice::own, false});
  }
  return forms;
}

TEST_CASE("Beginnings are read slice by slice, those alike once, and every text goes on as it would alone") {
  constexpr int64_t given = 1250, vocabulary = 5000;  // more positions and logits than are read at once
  for (const Form& form : forms_of_decoding()) {
    NanoGptCheckpoint checkpoint = testing::with_dtype(testing::small_gpt(1300, vocabulary), form.dtype);
    for (auto& [name, parameter] : checkpoint.parameters) {
      parameter = parameter.to(form.device);
    }
    Transformer model(nanogpt_weights(checkpoint), {}, form.kernels);
    const auto check_same = [&](const at::Tensor& one, const at::Tensor& other) {
      if (form.same_bits) {
        CHECK(at::equal(one, other));
      } else {
        CHECK(relative_error(one, other) < (form.dtype == at::kFloat ? 1e-4 : 5e-2));
      }
    };
    const std::vector<int64_t> different = {0, 2}, place = {0, 0, 1, 0, 1};
    const at::Tensor rows = at::tensor(different, at::kLong), places = at::tensor(place, at::kLong);
    at::Tensor tokens = some_tokens(5, given + 2, vocabulary);
    tokens.narrow(1, 0, given).copy_(some_tokens(2, given, vocabulary).index_select(0, places));
    tokens = tokens.to(form.device);
    const auto at_position = [&](int64_t position) {
      return at::full({1}, position, at::device(form.device).dtype(at::kLong));
    };
    const Beginnings beginnings{given, rows.to(form.device), places.to(form.device)};

    const GrowingText text{tokens, at_position(given - 1)};
    const std::unique_ptr<DecodingSession> session = model.begin(text);
    at::Tensor read = at::zeros({2, given, vocabulary}), times = at::zeros({2, given});
    session->restart(beginnings, [&](const Slice& slice, const at::Tensor& logits) {
      slice.of(read).copy_(logits);
      slice.of(times).add_(1);
      CHECK(logits.numel() <= int64_t{1} << 24);
    });
    CHECK((times == 1).all().item<bool>());
    check_same(read, model.logits(beginnings.of(tokens)).cpu().to(at::kFloat));

    std::vector<at::Tensor> together;
    for (int64_t step = 0; step < 3; ++step) {
      text.position.fill_(given - 1 + step);
      together.push_back(session->next_logits().cpu());
      session->advance();
    }
    for (int64_t row = 0; row < 5; ++row) {
      const GrowingText own{tokens.narrow(0, row, 1).contiguous(), at_position(given - 1)};
      const std::unique_ptr<DecodingSession> alone = model.begin(own);
      alone->restart(given);
      for (int64_t step = 0; step < 3; ++step) {
        CAPTURE(form.device.str(), form.dtype, form.kernels, row, step);
        own.position.fill_(given - 1 + step);
        check_same(together[static_cast<size_t>(step)][row], alone->next_logits().cpu()[0]);
        alone->advance();
      }
    }
  }
}

}  // namespace transformer_test

#include "model/gpt.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/nanogpt_checkpoint.h"
#include "model/device.h"
#include "tests/support/catch.h"

using namespace demask;

namespace {

const std::vector<std::string> shipped = {"diffusion_nanogpt.pt", "diffusion_base.pt", "standard.pt", "remasking.pt"};

Gpt load(const std::string& path, at::ScalarType dtype = at::kFloat, at::Device device = at::kCPU,
         KernelChoice kernels = KernelChoice::own) {
  return Gpt(read_nanogpt_checkpoint(std::string(DEMASK_SOURCE_DIR) + "/" + path,
                                     [=](const at::Tensor& parameter) { return parameter.to(device, dtype); }),
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
    Gpt single = load("out/" + name), reference = load("out/" + name, at::kDouble);
    const at::Tensor tokens = some_tokens(2, 200, 65);
    const at::Tensor logits = single.logits(tokens);
    CHECK(logits.sizes() == at::IntArrayRef({2, 200, single.info().output_size}));
    CHECK(relative_error(logits, reference.logits(tokens)) < 1e-5);
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
      for (const int64_t length : {1, 100, 512}) {
        CAPTURE(device.str(), name, length);
        const at::Tensor tokens = some_tokens(3, length, 65).to(device);
        const at::Tensor own = load("out/" + name, at::kFloat, device).logits(tokens);
        CHECK(relative_error(own, load("out/" + name, at::kFloat, device, KernelChoice::libtorch).logits(tokens)) <
              (device.is_cpu() ? 1e-5 : 1e-3));
      }
    }
  }
}

TEST_CASE("Logits at some positions are the bits of logits at all") {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (const std::string& name : shipped) {
      CAPTURE(name, dtype);
      Gpt model = load("out/" + name, dtype);
      const at::Tensor tokens = some_tokens(3, 200, 65);
      const at::Tensor positions = some_tokens(3, 60, 200);
      const at::Tensor all = model.logits(tokens);
      const at::Tensor picked = all.gather(1, positions.unsqueeze(2).expand({-1, -1, all.size(2)}));
      CHECK(at::equal(model.logits_at(tokens, positions), picked));
    }
  }
}

TEST_CASE("bfloat16 on the CPU stays close to float32") {
  const at::Tensor tokens = some_tokens(2, 100, 65);
  CHECK(relative_error(load("out/diffusion_nanogpt.pt", at::kBFloat16).logits(tokens),
                       load("out/diffusion_nanogpt.pt").logits(tokens)) < 5e-2);
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
      Gpt model = load("out/" + name, form.dtype, at::kCPU, form.kernels);
      for (const int64_t length : {1, 7, 100}) {
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
    Gpt model = load("out/" + name);
    return relative_error(model.logits(changed).narrow(1, 0, 40), model.logits(tokens).narrow(1, 0, 40));
  };
  CHECK(first_forty_change("standard.pt") == 0);
  CHECK(first_forty_change("diffusion_nanogpt.pt") > 1e-4);
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
    Gpt model = load(path, at::kFloat, device);
    const int64_t block = model.info().block_size;
    const int64_t prompt = std::max<int64_t>(block - 20, 1), total = block + 5;
    const GrowingText text{some_tokens(3, total, 8).to(device),
                           at::full({1}, prompt - 1, at::device(device).dtype(at::kLong))};
    const std::unique_ptr<DecodingSession> cached = model.begin(text);
    const std::unique_ptr<DecodingSession> recomputed = model.LanguageModel::begin(text);
    for (int run = 0; run < 2; ++run) {  // a session can start again
      text.position.fill_(prompt - 1);
      cached->restart(prompt);
      recomputed->restart(prompt);
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

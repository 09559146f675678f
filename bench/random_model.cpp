#include "bench/random_model.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "checkpoint/export_model.h"
#include "checkpoint/nanogpt_weights.h"
#include "core/text.h"

namespace demask::bench {
namespace {

constexpr double weight_deviation = 0.02;  // nanoGPT's initialisation
constexpr uint64_t seed = 1;

class TemporaryModel {
 public:
  explicit TemporaryModel(const NanoGptCheckpoint& checkpoint)
      : path_((std::filesystem::temp_directory_path() / fmt::format("demask_bench.{}", ::getpid())).string()) {
    export_model(nanogpt_weights(checkpoint), path_);
  }
  TemporaryModel(const TemporaryModel&) = delete;
  TemporaryModel& operator=(const TemporaryModel&) = delete;
  ~TemporaryModel() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace

NanoGptCheckpoint random_checkpoint(const ModelArgs& args, at::Device device, at::ScalarType dtype) {
  NanoGptCheckpoint checkpoint;
  checkpoint.args = args;
  at::Generator generator = at::detail::createCPUGenerator(seed);
  for (const auto& [name, shape] : expected_parameters(args)) {
    const at::Tensor values = at::randn(shape, generator, at::TensorOptions(at::kFloat));
    // A norm's weight scales around 1, as in a trained model.
    const double mean =
        ends_with(name, "ln_1.weight") || ends_with(name, "ln_2.weight") || ends_with(name, "ln_f.weight");
    checkpoint.parameters[name] = values.mul(weight_deviation).add(mean).to(device, dtype);
  }
  return checkpoint;
}

const std::string& random_base_model() {
  static const TemporaryModel model = [] {
    ModelArgs args;
    args.n_layer = 6;
    args.n_head = 6;
    args.n_embd = 384;
    args.block_size = 1024;
    args.vocab_size = 66;
    args.bias = true;
    args.bidirectional = true;
    args.rotary = true;
    args.tied_head = true;
    NanoGptCheckpoint checkpoint = random_checkpoint(args, at::kCPU, at::kHalf);
    checkpoint.dataset = "char_diffusion";
    return TemporaryModel(checkpoint);
  }();
  return model.path();
}

}  // namespace demask::bench

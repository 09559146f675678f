#include "bench/synthetic.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "bench/peak_memory.h"
#include "bench/random_model.h"
#include "bench/timing.h"
#include "checkpoint/nanogpt_weights.h"
#include "model/transformer.h"
#include "sampling/diffusion_sampler.h"
#include "sampling/strategies/policies.h"
#include "sampling/strategies/strategy.h"

namespace demask::bench {
namespace {

constexpr double randomness = 0.4;

// How much of it: the whole on CUDA; on the CPU, enough to see that it works.
struct Work {
  int64_t batch = 0;
  int64_t length = 0;
  int64_t iterations = 0;
};

NanoGptCheckpoint model_of_gpt2_size(const Options& options) {
  ModelArgs args;
  args.n_layer = 12;
  args.n_head = 12;
  args.n_embd = 768;
  args.block_size = 1024;
  args.vocab_size = 50304;
  args.bidirectional = true;
  args.rotary = true;
  args.tied_head = true;
  return random_checkpoint(args, options.device, options.dtype);
}

Template blank_text(int64_t length, int64_t mask_token_id) {
  const auto positions = static_cast<size_t>(length);
  return {std::vector<int64_t>(positions, mask_token_id), std::vector<bool>(positions, false)};
}

// The guide's loop as it is by default, but for its randomness.
std::unique_ptr<RevealPolicy> self_confidence(double randomness_strength) {
  DiffusionSettings settings;
  settings.parameters.set("randomness_strength", randomness_strength);
  settle_strategy(settings, [](std::string_view) { return false; });
  return make_policy(settings, /*remasking_model=*/nullptr);
}

}  // namespace

nlohmann::ordered_json run_synthetic(const Options& options, const Ceilings& ceilings, std::FILE* file) {
  const Work work = options.device.is_cuda() ? Work{16, 1024, 32} : Work{1, 128, 4};
  reset_peak_memory(options.device);
  const NanoGptCheckpoint checkpoint = model_of_gpt2_size(options);
  const ModelArgs& args = checkpoint.args;
  Transformer gpt(nanogpt_weights(checkpoint));
  CheckedModel model(gpt, "the synthetic model");
  const std::unique_ptr<RevealPolicy> policy = self_confidence(randomness);
  const int64_t mask_token_id = args.vocab_size - 1;
  at::Tensor forbidden = at::zeros({args.vocab_size}, at::TensorOptions(at::kFloat).device(options.device));
  forbidden.narrow(0, mask_token_id, 1).fill_(-std::numeric_limits<double>::infinity());
  DiffusionOptions diffusion;
  diffusion.plan = plan_by(MaskSchedule::linear(work.iterations, 0.95, 0.05), /*judged=*/true);
  diffusion.mask_token_id = mask_token_id;
  diffusion.forbidden = forbidden;
  DiffusionSampler sampler(model, *policy, diffusion);
  const Template text = blank_text(work.length, mask_token_id);

  const std::vector<double> every = time_calls(options.device, options.repeats, [&] {
    sampler.sample(consecutive({1337, 0}, work.batch, text), nullptr);
  });
  const int64_t forwards = sampler.forwards() / (options.repeats + warm_ups(options.device));
  const Spread seconds = spread(every);
  const ModelShape shape{args.n_layer, args.n_head, args.n_embd};
  const ForwardSize size{work.batch, work.length, args.vocab_size};
  const double operations =
      static_cast<double>(forwards) * (weight_operations(shape, size) + attention_operations(shape, size));
  const double rate = operations / seconds.median;
  const int64_t peak = peak_memory_bytes(options.device);

  fmt::print(
      file,
      "\nSynthetic model: {} layers, {} heads, {} wide, {} tokens known; {} x {}, {} iterations, {} forwards\n"
      "{:.4f} s (min {:.4f}, max {:.4f}), {:.2f} TFLOP/s in matrix products, {:.3f} of the large product's rate, "
      "peak memory {:.2f} GiB\n",
      args.n_layer, args.n_head, args.n_embd, args.vocab_size, work.batch, work.length, work.iterations, forwards,
      seconds.median, seconds.least, seconds.most, rate / 1e12, rate / ceilings.product_rate,
      static_cast<double>(peak) / (1 << 30));
  return {{"samples", work.batch},
          {"length", work.length},
          {"iterations", work.iterations},
          {"forwards", forwards},
          {"seconds", spread_json(every)},
          {"tflops", rate / 1e12},
          {"fraction_of_large_product", rate / ceilings.product_rate},
          {"peak_memory_bytes", peak}};
}

}  // namespace demask::bench

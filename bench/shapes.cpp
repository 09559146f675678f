#include "bench/shapes.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "bench/peak_memory.h"
#include "bench/random_weights.h"
#include "bench/table.h"
#include "bench/timing.h"
#include "core/error.h"
#include "core/text.h"
#include "model/device.h"
#include "model/transformer.h"
#include "sampling/autoregressive_sampler.h"

namespace demask::bench {
namespace {

// Layers, heads, key heads, head width, width, feed-forward width.
TransformerDescription sizes(int64_t layers, int64_t heads, int64_t keys, int64_t head_width, int64_t width,
                             int64_t feed_forward, int64_t vocabulary) {
  TransformerDescription of;
  of.layers = layers;
  of.heads = heads;
  of.key_value_heads = keys;
  of.head_width = head_width;
  of.width = width;
  of.feed_forward_width = feed_forward;
  of.block_size = 4096;
  of.vocabulary_size = of.outputs = vocabulary;
  return of;
}

TransformerDescription llama_like(TransformerDescription of, double epsilon, double base) {
  of.norm = NormKind::rms;
  of.norm_epsilon = epsilon;
  of.activation = Activation::silu;
  of.gated = true;
  of.rotary = true;
  of.rotary_base = base;
  return of;
}

std::vector<Shape> all_shapes() {
  Shape llada{"llada-8b", llama_like(sizes(32, 32, 32, 128, 4096, 12288, 126464), 1e-5, 5e5), {}};
  llada.description.bidirectional = true;
  Shape dream{"dream-7b",
              llama_like(sizes(28, 28, 4, 128, 3584, 18944, 152064), 1e-6, 1e6),
              {RandomBiases::query_key_value, false}};
  dream.description.bidirectional = dream.description.shifted = true;
  Shape gpt2{"gpt2-124m", sizes(12, 12, 12, 64, 768, 3072, 50257), {RandomBiases::all, false}};
  gpt2.description.block_size = 1024;
  gpt2.description.activation = Activation::gelu_tanh;
  gpt2.description.tied_head = true;
  Shape qwen{
      "qwen3-0.6b", llama_like(sizes(28, 16, 8, 128, 1024, 3072, 151936), 1e-6, 1e6), {RandomBiases::none, true}};
  qwen.description.tied_head = true;
  Shape mdlm{"mdlm-170m", sizes(12, 12, 12, 64, 768, 3072, 50258), {RandomBiases::all, false}};
  mdlm.description.block_size = 1024;
  mdlm.description.activation = Activation::gelu_tanh;
  mdlm.description.rotary = true;
  mdlm.description.bidirectional = true;
  const Shape llama{"llama-8b", llama_like(sizes(32, 32, 8, 128, 4096, 14336, 128256), 1e-5, 5e5), {}};
  return {llada, dream, mdlm, gpt2, qwen, llama};
}

double forward_operations(const TransformerDescription& of, int64_t batch, int64_t length) {
  const auto number = [](int64_t x) { return static_cast<double>(x); };
  const double mixed = number(of.heads * of.head_width), width = number(of.width);
  const double layer =
      width * (number(of.query_key_value_width()) + mixed) + (of.gated ? 3 : 2) * width * number(of.feed_forward_width);
  const double seen = number(length) * (of.bidirectional ? 1.0 : 0.5);
  return 2 * number(batch * length) * (number(of.layers) * (layer + 2 * seen * mixed) + width * number(of.outputs));
}

struct Size {
  int64_t batch, length;
};

nlohmann::ordered_json time_forward(const Shape& shape, Transformer& model, const char* kernels, const Size& size,
                                    const Options& options, const Ceilings& ceilings, std::FILE* file) {
  const c10::InferenceMode inference;
  const TransformerDescription& of = shape.description;
  const at::Tensor tokens =
      at::randint(of.vocabulary_size, {size.batch, size.length}, at::TensorOptions(at::kLong).device(options.device));
  reset_peak_memory(options.device);
  const double seconds = seconds_per_call(options.device, options.repeats, [&] { model.logits(tokens); });
  const double rate = forward_operations(of, size.batch, size.length) / seconds;
  const int64_t peak = peak_memory_bytes(options.device);
  fmt::print(
      file, "{:<12} {:<9} forward {:>2} x {:<4} {:>9.3f} ms {:>7.1f} TFLOP/s {:.3f} of the large product, {:.2f} GiB\n",
      shape.name, kernels, size.batch, size.length, seconds * 1e3, rate / 1e12, rate / ceilings.product_rate,
      static_cast<double>(peak) / (1 << 30));
  return {{"shape", shape.name},
          {"kernels", kernels},
          {"batch", size.batch},
          {"length", size.length},
          {"seconds", seconds},
          {"tflops", rate / 1e12},
          {"fraction_of_large_product", rate / ceilings.product_rate},
          {"peak_memory_bytes", peak}};
}

// A text or several from one token on, as demask draws them by default.
nlohmann::ordered_json time_decoding(const Shape& shape, Transformer& transformer, const char* kernels, int64_t batch,
                                     const Options& options, std::FILE* file) {
  const int64_t new_tokens = options.device.is_cuda() ? 512 : 8;
  CheckedModel model(transformer, shape.name);
  AutoregressiveOptions decoding;
  decoding.draw.filters.top_k = 200;
  decoding.forbidden = at::zeros({shape.description.outputs}, at::TensorOptions(at::kFloat).device(options.device));
  std::string refusal;
  decoding.on_unrecordable = [&refusal](const std::string& reason) { refusal = reason; };
  AutoregressiveSampler sampler(model, decoding);
  const std::vector<int64_t> prompt = {1, 2, 3, 4, 5, 6, 7, 8};
  const std::vector<double> every = time_calls(options.device, options.repeats, [&] {
    sampler.sample(consecutive({1337, 0}, batch, prompt, new_tokens), nullptr);
  });
  const double each = spread(every).median / static_cast<double>(new_tokens);
  fmt::print(file, "{:<12} {:<9} decode {:>4} x {:<4} {:>9.4f} ms a token{}\n", shape.name, kernels, batch, new_tokens,
             each * 1e3, refusal.empty() ? "" : ", not recorded: " + refusal);
  return {{"shape", shape.name},      {"kernels", kernels},        {"decoded", batch},
          {"new_tokens", new_tokens}, {"seconds_per_token", each}, {"seconds", spread_json(every)}};
}

}  // namespace

std::vector<Shape> select_shapes(const std::string& selection) {
  const std::vector<Shape> all = all_shapes();
  if (selection == "all") {
    return all;
  }
  std::vector<Shape> chosen;
  for (size_t start = 0; start <= selection.size();) {
    const size_t end = std::min(selection.find(',', start), selection.size());
    const std::string name = selection.substr(start, end - start);
    std::string names;
    bool found = false;
    for (const Shape& shape : all) {
      names += (names.empty() ? "" : ", ") + shape.name;
      if (shape.name == name) {
        chosen.push_back(shape);
        found = true;
      }
    }
    if (!found) {
      fail(ExitCode::bad_usage, "shape '{}' is none of {}, all.", name, names);
    }
    start = end + 1;
  }
  return chosen;
}

nlohmann::ordered_json run_shapes(const std::string& selection, const Options& options, const Ceilings& ceilings,
                                  std::FILE* file) {
  const std::vector<Size> forwards =
      options.device.is_cuda() ? std::vector<Size>{{1, 1024}, {4, 512}} : std::vector<Size>{{1, 16}};
  const std::vector<int64_t> decoded =
      options.device.is_cuda() ? std::vector<int64_t>{1, 4, 8, 16, 32, 64, 256, 1024} : std::vector<int64_t>{1, 8, 32};
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  fmt::print(file, "\n");
  for (const Shape& shape : select_shapes(selection)) {
    const TransformerWeights weights =
        random_weights(shape.description, shape.parts, at::TensorOptions(options.dtype).device(options.device));
    for (const auto& [kernels, choice] :
         {std::pair{"demask", KernelChoice::own}, std::pair{"LibTorch", KernelChoice::libtorch}}) {
      Transformer model(weights, {}, choice);
      model.keep_batch_invariant(options.batch_invariant);
      for (const Size& size : forwards) {
        rows.push_back(time_forward(shape, model, kernels, size, options, ceilings, file));
      }
      for (const int64_t batch : decoded) {
        if (!shape.description.bidirectional && choice == KernelChoice::own) {
          rows.push_back(time_decoding(shape, model, kernels, batch, options, file));
        }
      }
    }
    release_cached_memory(options.device);
  }
  return rows;
}

}  // namespace demask::bench

#include "bench/decode_kernels.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/random_weights.h"
#include "bench/table.h"
#include "bench/timing.h"
#include "core/error.h"
#include "kernels/cuda.h"
#include "sampling/confidence.h"
#include "sampling/step_runner.h"
#include "sampling/token_draw.h"

namespace demask::bench {
namespace {

namespace cuda = kernels::cuda;

constexpr int64_t copies = 48;  // of a layer: the smallest product's weights then exceed 50 MB of cache
constexpr int64_t position = 512, capacity = 1024;

TransformerDescription gpt2() {
  TransformerDescription of;
  of.layers = copies;
  of.heads = of.key_value_heads = 12;
  of.head_width = 64;
  of.width = 768;
  of.feed_forward_width = 3072;
  of.block_size = capacity;
  of.vocabulary_size = of.outputs = 50264;  // as the head is padded
  of.activation = Activation::gelu_tanh;
  return of;
}

// What all of a forward's kernels read and write.
struct Bed {
  TransformerWeights weights;
  at::Tensor x, wide, qkv, logits;       // [B, 1, ...]
  at::Tensor text, there;                // [B, capacity] and [1] int64
  std::vector<at::Tensor> keys, values;  // by layer
  cuda::DecodeWorkspace workspace;
  at::Tensor forbidden, uniforms, ids, broken;

  Bed(int64_t texts, const at::TensorOptions& options) {
    const TransformerDescription of = gpt2();
    weights = random_weights(of, {RandomBiases::all, false}, options);
    x = at::randn({texts, 1, of.width}, options);
    wide = at::randn({texts, 1, of.feed_forward_width}, options);
    qkv = at::randn({texts, 1, of.query_key_value_width()}, options);
    logits = at::randn({texts, of.outputs}, options);
    text = at::zeros({texts, capacity}, options.dtype(at::kLong));
    there = at::full({1}, position, options.dtype(at::kLong));
    for (int64_t layer = 0; layer < copies; ++layer) {
      keys.push_back(at::randn({texts, of.heads, capacity, of.head_width}, options));
      values.push_back(at::randn({texts, of.heads, capacity, of.head_width}, options));
    }
    workspace = cuda::make_decode_workspace(keys.front(), of.heads);
    forbidden = at::zeros({of.outputs}, options.dtype(at::kFloat));
    uniforms = at::rand({texts}, options.dtype(at::kFloat));
    ids = at::zeros({texts}, options.dtype(at::kLong));
    broken = at::zeros({}, options.dtype(at::kBool));
  }

  static kernels::Norm norm(const NormWeights& of) { return {of.weight, of.bias, 1e-5, NormKind::layer}; }
  static kernels::Heads heads() {
    kernels::Heads of;
    of.queries = of.keys = 12;
    return of;
  }
  const LayerWeights& layer(int64_t number) const { return weights.layers[static_cast<size_t>(number % copies)]; }

  void embed() const {
    cuda::embed_one_and_norm(x, text, there, {weights.token_embedding, weights.position_embedding},
                             norm(weights.final_norm));
  }
  at::Tensor project_in(int64_t n) const {
    const LayerWeights& of = layer(n);
    return cuda::row_product(x,
                             {of.query_key_value.weight, of.query_key_value.bias, norm(of.attention_norm), {}, false});
  }
  at::Tensor attend(const at::Tensor& rows, int64_t n) const {
    const auto at = static_cast<size_t>(n % copies);
    return cuda::decode_attention(rows, heads(), keys[at], values[at], there, workspace);
  }
  void project_out(const at::Tensor& mixed, int64_t n) const {
    const LayerWeights& of = layer(n);
    cuda::add_row_product(x, mixed, {of.attention_projection.weight, of.attention_projection.bias, {}, {}, false});
  }
  at::Tensor expand(int64_t n) const {
    const LayerWeights& of = layer(n);
    return cuda::row_product(
        x, {of.expand.weight, of.expand.bias, norm(of.feed_forward_norm), Activation::gelu_tanh, false});
  }
  void contract(const at::Tensor& expanded, int64_t n) const {
    const LayerWeights& of = layer(n);
    cuda::add_row_product(x, expanded, {of.contract.weight, of.contract.bias, {}, {}, false});
  }
  void block(int64_t n) const {
    project_out(attend(project_in(n), n), n);
    contract(expand(n), n);
  }
};

struct Kind {
  std::string name;
  int64_t calls;  // recorded in one graph
  double bytes;   // of weights, keys and values, that a call reads
  std::function<void(int64_t)> call;
};

std::vector<Kind> kinds(const Bed& bed, int64_t texts, double value_bytes) {
  const double square = 768.0 * 768.0 * value_bytes, head = 768.0 * 50264.0 * value_bytes;
  const double past = static_cast<double>(texts) * 2 * position * 768 * value_bytes;
  DrawFilters filters;
  filters.top_k = 200;
  const at::Tensor mixed = bed.x.clone();
  return {
      {"embedding", copies, 0, [&bed](int64_t) { bed.embed(); }},
      {"query, key, value", copies, 3 * square, [&bed](int64_t n) { bed.project_in(n); }},
      {"attention, 512 keys", copies, past, [&bed](int64_t n) { bed.attend(bed.qkv, n); }},
      {"projection", copies, square, [&bed, mixed](int64_t n) { bed.project_out(mixed, n); }},
      {"expand", copies, 4 * square, [&bed](int64_t n) { bed.expand(n); }},
      {"contract", copies, 4 * square, [&bed](int64_t n) { bed.contract(bed.wide, n); }},
      {"a layer of these five", copies, 12 * square + past, [&bed](int64_t n) { bed.block(n); }},
      {"head", 8, head,
       [&bed](int64_t) {
         cuda::row_product(bed.x, {bed.weights.head.weight, {}, Bed::norm(bed.weights.final_norm), {}, false});
       }},
      {"draw of the top 200", 16, 0,
       [&bed, filters](int64_t) {
         draw_tokens_where({}, {}, bed.logits, bed.forbidden, bed.uniforms, filters, bed.broken);
       }},
      {"probability of the token", 16, 0, [&bed](int64_t) { token_log_probability(bed.logits, bed.ids, bed.broken); }},
      {"a small one of LibTorch's", copies, 0, [&bed](int64_t) { bed.broken.logical_and_(bed.broken); }},
  };
}

}  // namespace

nlohmann::ordered_json run_decode_kernels(int64_t texts, const Options& options, std::FILE* file) {
  const c10::InferenceMode inference;
  const at::TensorOptions tensors = at::TensorOptions(options.dtype).device(options.device);
  if (!cuda::built() || !options.device.is_cuda()) {
    fail(ExitCode::bad_usage, "--decode_kernels={}: needs a CUDA device, and a build with demask's own CUDA kernels.",
         texts);
  }
  const Bed bed(texts, tensors);
  fmt::print(file, "\nKernels of decoding, GPT-2's 124M shape, {} texts, {}\n", texts, to_name(options.dtype));
  Table table(file, {{"kernel", 26}, {"us", 9}, {"GB/s", 8}});
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const Kind& kind : kinds(bed, texts, static_cast<double>(bed.x.element_size()))) {
    std::string refusal;
    const std::unique_ptr<StepRunner> runner = make_step_runner(
        [&kind] {
          for (int64_t n = 0; n < kind.calls; ++n) {
            kind.call(n);
          }
        },
        options.device, 2, [&refusal](const std::string& reason) { refusal = reason; });
    const double seconds =
        seconds_per_call(options.device, options.repeats, [&] { runner->run(1000); }) / static_cast<double>(kind.calls);
    const double rate = kind.bytes / seconds / 1e9;
    table.row({kind.name, show(seconds * 1e6, 2), kind.bytes > 0 ? show(rate, 0) : "-"});
    if (!refusal.empty()) {
      fmt::print(file, "  not recorded: {}\n", refusal);
    }
    rows.push_back({{"kernel", kind.name}, {"texts", texts}, {"seconds", seconds}, {"bytes", kind.bytes}});
  }
  return rows;
}

}  // namespace demask::bench

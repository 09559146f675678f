#include "model/recognise_gpt.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/nanogpt_weights.h"
#include "core/text.h"

namespace demask {
namespace {

constexpr std::string_view token_embedding = "transformer.wte.weight";
constexpr std::string_view layer_mark = ".ln_1.weight";
constexpr uint64_t seed = 1;
// The original's scores take length x length numbers a head. A longer block is not compared in part instead: code may
// treat long texts in another way, with a window or other angles.
constexpr int64_t longest_compared = 2048;

// By name, without the prefix before "transformer.wte.weight"; empty where a parameter does not have it.
std::map<std::string, at::Tensor> without_prefix(const std::map<std::string, at::Tensor>& parameters) {
  std::map<std::string, at::Tensor> stripped;
  const auto embedding = std::find_if(parameters.begin(), parameters.end(),
                                      [](const auto& named) { return ends_with(named.first, token_embedding); });
  if (embedding == parameters.end()) {
    return stripped;
  }
  const std::string prefix = embedding->first.substr(0, embedding->first.size() - token_embedding.size());
  for (const auto& [name, tensor] : parameters) {
    if (name.compare(0, prefix.size(), prefix) != 0) {
      return {};
    }
    stripped.emplace(name.substr(prefix.size()), tensor);
  }
  return stripped;
}

bool are_parameters_of(const ModelArgs& args, const std::map<std::string, at::Tensor>& parameters) {
  const auto expected = expected_parameters(args);
  return expected.size() == parameters.size() && std::all_of(expected.begin(), expected.end(), [&](const auto& named) {
           const auto found = parameters.find(named.first);
           return found != parameters.end() && found->second.is_floating_point() &&
                  found->second.sizes() == at::IntArrayRef(named.second);
         });
}

// Numbers of heads that shapes allow, the hint first.
std::vector<int64_t> possible_heads(const ModelArgs& args, int64_t hint) {
  constexpr int64_t narrowest = 8, widest = 256;
  std::vector<int64_t> heads;
  if (hint > 0 && args.n_embd % hint == 0 && (!args.rotary || args.n_embd / hint % 2 == 0)) {
    heads.push_back(hint);
  }
  for (int64_t width = narrowest; width <= std::min(widest, args.n_embd); width += 2) {
    if (args.n_embd % width == 0 && args.n_embd / width != hint) {
      heads.push_back(args.n_embd / width);
    }
  }
  return heads;
}

// Token ids [sequences, length]: each as often as any other where there is room for all, else a choice of them.
at::Tensor tokens_to_compare(int64_t sequences, int64_t length, int64_t vocabulary, at::Device device) {
  const int64_t count = sequences * length;
  const at::Tensor shuffled = at::randperm(std::max(count, vocabulary), at::detail::createCPUGenerator(seed),
                                           at::device(at::kCPU).dtype(at::kLong));
  return shuffled.narrow(0, 0, count).remainder(vocabulary).view({sequences, length}).to(device);
}

struct Comparison {
  at::Tensor tokens;     // [B, T]
  at::Tensor reference;  // [B, T, V], or [B, 1, V] from an original that gives the last position only
};

// The original gets a copy of the tokens, since its code may write to them. Two sequences, but at the full length one,
// which takes most of the time.
Comparison run_original(LanguageModel& original, int64_t length, const ModelArgs& args) {
  const int64_t sequences = length < args.block_size ? 2 : 1;
  const at::Tensor tokens = tokens_to_compare(sequences, length, args.vocab_size, original.device());
  return {tokens, original.logits(tokens.clone())};
}

bool agrees(Transformer& gpt, const Comparison& with) {
  const at::Tensor logits = gpt.logits(with.tokens);
  const int64_t positions = with.reference.size(1);
  return with.reference.size(2) == logits.size(2) &&
         logits_disagreement(logits.narrow(1, logits.size(1) - positions, positions), with.reference) <= gpt_tolerance;
}

}  // namespace

double logits_disagreement(const at::Tensor& logits, const at::Tensor& reference) {
  const c10::InferenceMode inference;
  return ((logits - reference).abs_().max() / reference.std()).item<double>();
}

std::optional<NanoGptCheckpoint> propose_gpt(const std::map<std::string, at::Tensor>& parameters,
                                             const ModelInfo& known) {
  NanoGptCheckpoint proposed;
  proposed.parameters = without_prefix(parameters);
  proposed.dataset = known.dataset;
  const auto embedding = proposed.parameters.find(std::string(token_embedding));
  if (embedding == proposed.parameters.end() || embedding->second.dim() != 2 || known.block_size < 1 ||
      known.block_size > longest_compared) {
    return std::nullopt;
  }
  const auto head = proposed.parameters.find("lm_head.weight");
  ModelArgs& args = proposed.args;
  args.n_layer = std::count_if(proposed.parameters.begin(), proposed.parameters.end(),
                               [](const auto& named) { return ends_with(named.first, layer_mark); });
  args.vocab_size = embedding->second.size(0);
  args.n_embd = embedding->second.size(1);
  args.block_size = known.block_size;
  args.bias = proposed.parameters.count("transformer.ln_f.bias") > 0;
  args.rotary = proposed.parameters.count("transformer.wpe.weight") == 0;
  args.tied_head = head == proposed.parameters.end();
  args.binary_classification =
      known.binary_classification || (!args.tied_head && head->second.dim() == 2 && head->second.size(0) == 2);
  if (!are_parameters_of(args, proposed.parameters)) {
    return std::nullopt;
  }
  return proposed;
}

std::unique_ptr<Transformer> recognise_gpt(NanoGptCheckpoint proposed, LanguageModel& original, int64_t n_head_hint,
                                           at::Device device, at::ScalarType dtype) {
  ModelArgs& args = proposed.args;
  for (auto& [name, parameter] : proposed.parameters) {
    // A view into a larger storage may begin anywhere, and the kernels read 16 bytes at a time.
    const at::Tensor values = parameter.detach();
    parameter = values.storage_offset() == 0 ? values.contiguous() : values.clone(at::MemoryFormat::Contiguous);
  }
  const int64_t shortest = std::min<int64_t>(3, args.block_size);
  const Comparison first = run_original(original, shortest, args);
  if (!at::equal(first.reference, run_original(original, shortest, args).reference)) {
    return nullptr;
  }

  std::vector<ModelArgs> candidates;
  for (const int64_t heads : possible_heads(args, n_head_hint)) {
    for (const bool bidirectional : {true, false}) {
      args.n_head = heads;
      args.bidirectional = bidirectional;
      Transformer gpt(nanogpt_weights(proposed), {},
                      KernelChoice::libtorch);  // many candidates, and no packing of weights for each
      if (agrees(gpt, first)) {
        candidates.push_back(args);
      }
    }
  }
  for (const int64_t length : std::set<int64_t>{std::max(shortest, args.block_size / 4), args.block_size}) {
    if (candidates.empty()) {
      return nullptr;
    }
    const Comparison comparison = run_original(original, length, args);
    candidates.erase(std::remove_if(candidates.begin(), candidates.end(),
                                    [&](const ModelArgs& candidate) {
                                      args = candidate;
                                      Transformer gpt(nanogpt_weights(proposed));
                                      return !agrees(gpt, comparison);
                                    }),
                     candidates.end());
  }
  if (candidates.empty()) {
    return nullptr;
  }
  args = candidates.front();
  for (auto& [name, parameter] : proposed.parameters) {
    parameter = parameter.to(options_of_weights(dtype, device));
  }
  return std::make_unique<Transformer>(nanogpt_weights(proposed), "TorchScript, run natively: ", kernels_for(dtype));
}

}  // namespace demask

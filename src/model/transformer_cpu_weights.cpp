#include "model/transformer_cpu_weights.h"

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <c10/core/InferenceMode.h>

#include <utility>

#include "checkpoint/mapped_file.h"
#include "core/freed_memory.h"
#include "model/transformer.h"

namespace demask {
namespace {

using kernels::cpu::Isa;
using kernels::cpu::LargePages;
using kernels::cpu::Linear;

at::Tensor single(const at::Tensor& parameter) {
  return parameter.to(at::kFloat).contiguous();
}

CpuNorm single(const NormWeights& from) {
  return {from.weight.defined() ? single(from.weight) : at::Tensor(),
          from.bias.defined() ? single(from.bias) : at::Tensor()};
}

// What linear layers are made with.
struct Making {
  const Isa& isa;
  LinearForm form;
  LargePages pages;
};

// Lets go of the weights it has packed.
Linear make_linear(Making& making, LinearWeights& from) {
  const LinearWeights own = std::exchange(from, {});
  if (making.form == LinearForm::stored && own.weight.scalar_type() == at::kFloat && own.weight.is_contiguous()) {
    return kernels::cpu::keep_as_stored(making.isa, own.weight, own.bias);
  }
  return kernels::cpu::pack(making.isa, own.weight, own.bias, making.pages);
}

// The feed-forward's first layer. Its outputs are rounded up to whole pairs: further ones are zero, as are the
// activations of zero and the weights that meet them.
Linear make_expand(Making& making, LinearWeights& from, bool gated) {
  const Isa& isa = making.isa;
  Linear linear;
  if (gated) {
    const LinearWeights own = std::exchange(from, {});
    linear = kernels::cpu::pack_gated(isa, own.weight, own.bias, making.pages);
  } else {
    linear = make_linear(making, from);
  }
  linear.outputs = (linear.outputs + isa.pair - 1) / isa.pair * isa.pair;
  return linear;
}

CpuBlock make_block(Making& making, LayerWeights from, bool gated) {
  CpuBlock block;
  block.attention_norm = single(from.attention_norm);
  block.query_key_value = make_linear(making, from.query_key_value);
  block.query_norm = single(from.query_norm);
  block.key_norm = single(from.key_norm);
  block.attention_projection = make_linear(making, from.attention_projection);
  block.feed_forward_norm = single(from.feed_forward_norm);
  block.expand = make_expand(making, from.expand, gated);
  block.contract = make_linear(making, from.contract);
  return block;
}

// The head whose weight is the token embedding.
Linear make_tied_head(Making& making, WeightSource& source, const at::Tensor& bias) {
  const TransformerDescription& of = source.description();
  if (making.form == LinearForm::stored) {
    LinearWeights whole{source.token_embedding_rows(0, of.vocabulary_size), bias};
    return make_linear(making, whole);
  }
  const auto rows = [&](int64_t first, int64_t count) { return source.token_embedding_rows(first, count); };
  return kernels::cpu::pack(making.isa, of.vocabulary_size, of.width, rows, bias, making.pages);
}

void drop(const MappedFile& file, const Linear& linear) {
  if (linear.stored.defined()) {
    file.drop({static_cast<const char*>(linear.stored.data_ptr()), linear.stored.nbytes()});
  }
}

template <typename Stored>
void widen(const Stored* row, int64_t width, float* x) {
  for (int64_t k = 0; k < width; ++k) {
    x[k] = static_cast<float>(row[k]);
  }
}

}  // namespace

// Panels cost about as much as reading the weights so many times as they are stored, more where they are new memory
// that the system has to bring. Panels of bfloat16 are half as long to read as what they are made of, and those of int8
// take much longer to make.
LinearForm form_for(const Isa& isa, int64_t forwards) {
  constexpr int64_t few_in_float = 8, few_in_bfloat16 = 5;
  const int64_t few = isa.quantise != nullptr ? 0 : isa.pair == 1 ? few_in_float : few_in_bfloat16;
  return forwards <= few ? LinearForm::stored : LinearForm::panels;
}

CpuWeights read_weights(const Isa& isa, WeightSource& source, LinearForm form) {
  const c10::InferenceMode inference;
  const TransformerDescription& of = source.description();
  CpuWeights weights;
  Making making{isa, form, {}};
  if (form == LinearForm::stored) {
    weights.file = source.lend_for_good();
  }
  if (weights.file == nullptr) {
    making.form = LinearForm::panels;
    source.lend();  // every linear layer's weights become panels before the next part is asked for
  }
  LinearWeights head = source.head();
  if (!of.tied_head) {
    weights.head = make_linear(making, head);
    weights.token_embedding = source.token_embedding().contiguous();
  }
  if (of.rotary) {
    const auto [cosine, sine] = rotary_angles(of);
    weights.cosine = single(cosine);
    weights.sine = single(sine);
  } else {
    weights.position_embedding = single(source.position_embedding());
  }
  for (int64_t number = 0; number < of.layers; ++number) {
    LayerWeights layer = source.layer(number);
    return_freed_memory();  // what reading took
    weights.blocks.push_back(make_block(making, std::move(layer), of.gated));
    return_freed_memory();
    drop_used(isa, weights, weights.blocks.back());
  }
  weights.final_norm = single(source.final_norm());
  if (of.tied_head) {
    weights.head = make_tied_head(making, source, head.bias);
    return_freed_memory();
  }
  return weights;
}

void check_file(const CpuWeights& weights) {
  if (weights.file != nullptr) {
    weights.file->check_unchanged();
  }
}

void drop_used(const Isa& isa, const CpuWeights& weights, const CpuBlock& block) {
  if (weights.file == nullptr || isa.element_bytes >= static_cast<int64_t>(sizeof(float))) {
    return;
  }
  for (const Linear* linear : {&block.query_key_value, &block.attention_projection, &block.expand, &block.contract}) {
    drop(*weights.file, *linear);
  }
}

void embed_token(const Isa& isa, const CpuWeights& weights, int64_t token, int64_t width, float* x) {
  const at::Tensor& own = weights.token_embedding;
  if (!own.defined()) {
    kernels::cpu::weights_of(isa, weights.head, token, x);
    return;
  }
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, own.scalar_type(), "embed_token",
                                  [&] { widen(own.data_ptr<scalar_t>() + token * width, width, x); });
}

}  // namespace demask

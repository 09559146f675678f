// CUDA kernels of a forward, called with tensors: which shapes they take, from which size on the library is faster, and
// their arguments.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>

#include <algorithm>

#include "kernels/cuda.h"
#include "kernels/cuda_tensors.h"

namespace demask::kernels::cuda {
namespace {

using launch::DecodeArguments;
using launch::HeadArguments;
using launch::NormArguments;
using launch::RowProductArguments;

int64_t values_at_once(const at::Tensor& x) {
  return launch::bytes_at_once / static_cast<int64_t>(x.element_size());
}

NormArguments row_arguments(const at::Tensor& x) {
  TORCH_INTERNAL_ASSERT(x.is_contiguous());
  NormArguments arguments;
  arguments.x = x.data_ptr();
  arguments.length = x.size(1);
  arguments.rows = x.size(0) * x.size(1);
  arguments.width = x.size(2);
  return arguments;
}

NormArguments norm_arguments(const at::Tensor& x, const Norm& norm, const at::Tensor& normed) {
  NormArguments arguments = row_arguments(x);
  arguments.weight = norm.weight.const_data_ptr();
  arguments.bias = pointer_or_none(norm.bias);
  arguments.normed = normed.data_ptr();
  arguments.epsilon = static_cast<float>(norm.epsilon);
  arguments.form = norm.form;
  return arguments;
}

void embed(NormArguments arguments, const at::Tensor& x, const at::Tensor& tokens, const at::Tensor& position,
           const Embedding& embedding) {
  TORCH_INTERNAL_ASSERT(tokens.stride(1) == 1);
  arguments.tokens = tokens.const_data_ptr<int64_t>();
  arguments.token_stride = tokens.stride(0);
  arguments.first_position = numbers_or_none<int64_t>(position);
  arguments.token_embedding = embedding.token.const_data_ptr();
  arguments.position_embedding = pointer_or_none(embedding.position);
  launch::norm(precision_of(x), arguments, stream_of(x));
  check_launch();
}

// Of keys [B, K, capacity, D].
int64_t decode_splits(const at::Tensor& keys) {
  return launch::decode_splits(keys.size(2), keys.size(3) * static_cast<int64_t>(keys.element_size()));
}

// Of what x's rows are multiplied into `outputs` columns of `out`, which is x's own form where it is undefined.
RowProductArguments product_arguments(const at::Tensor& x, const RowProduct& product) {
  TORCH_INTERNAL_ASSERT(x.is_contiguous() && product.weight.is_contiguous());
  RowProductArguments arguments;
  arguments.x = x.const_data_ptr();
  arguments.weight = product.weight.const_data_ptr();
  arguments.bias = pointer_or_none(product.bias);
  arguments.inner = product.weight.size(1);
  arguments.rows = x.numel() / arguments.inner;
  arguments.outputs = product.weight.size(0) / (product.gated ? 2 : 1);
  if (product.norm) {
    arguments.norm_weight = product.norm->weight.const_data_ptr();
    arguments.norm_bias = pointer_or_none(product.norm->bias);
    arguments.epsilon = static_cast<float>(product.norm->epsilon);
    arguments.form = product.norm->form;
  }
  arguments.activates = product.activation.has_value();
  arguments.activation = product.activation.value_or(Activation::gelu);
  arguments.gated = product.gated;
  return arguments;
}

void run_product(RowProductArguments arguments, const at::Tensor& out) {
  TORCH_INTERNAL_ASSERT(out.is_contiguous() && out.numel() == arguments.rows * arguments.outputs);
  arguments.out = out.data_ptr();
  const at::Tensor normed = at::empty({launch::normed_row_values(precision_of(out), arguments)}, out.options());
  arguments.normed = normed.data_ptr();
  launch::row_product(precision_of(out), arguments, stream_of(out));
  check_launch();
}

launch::DecodeLayer decode_layer(const DecodedLayer& layer) {
  TORCH_INTERNAL_ASSERT(layer.keys.is_contiguous() && layer.values.is_contiguous());
  const auto norm = [](const Norm& of) {
    return launch::DecodeNorm{of.weight.const_data_ptr(), pointer_or_none(of.bias)};
  };
  const auto linear = [](const Linear& of) {
    TORCH_INTERNAL_ASSERT(of.weight.is_contiguous());
    return launch::DecodeLinear{of.weight.const_data_ptr(), pointer_or_none(of.bias)};
  };
  launch::DecodeLayer found;
  found.attention_norm = norm(layer.attention_norm);
  found.query_key_value = linear(layer.query_key_value);
  found.projection = linear(layer.projection);
  found.query_norm = pointer_or_none(layer.heads.query_weight);
  found.key_norm = pointer_or_none(layer.heads.key_weight);
  found.keys = layer.keys.data_ptr();
  found.values = layer.values.data_ptr();
  found.feed_forward_norm = norm(layer.feed_forward_norm);
  found.expand = linear(layer.expand);
  found.contract = linear(layer.contract);
  return found;
}

void run_tile_product(const at::Tensor& x, const TileProduct& product, const at::Tensor& out, bool adds) {
  const at::Tensor own = x.contiguous();
  launch::TileProductArguments arguments;
  arguments.inner = product.weight.size(1);
  arguments.outputs = product.weight.size(0);
  arguments.rows = x.size(0) * x.size(1);
  TORCH_INTERNAL_ASSERT(x.size(2) == arguments.inner && out.is_contiguous() &&
                        out.numel() == arguments.rows * arguments.outputs);
  if (arguments.rows == 0) {
    return;
  }
  arguments.x = own.const_data_ptr();
  arguments.weight = product.weight.const_data_ptr();
  arguments.bias = pointer_or_none(product.bias);
  arguments.out = out.data_ptr();
  arguments.activates = product.activation.has_value();
  arguments.activation = product.activation.value_or(Activation::gelu);
  arguments.angles = numbers_or_none<float>(product.angles);
  arguments.length = x.size(1);
  arguments.head_width = product.head_width;
  arguments.rotated_heads = product.heads;
  arguments.adds = adds;
  TORCH_CHECK(launch::tile_product(precision_of(x), arguments, stream_of(x)), "the driver takes no tiles of ",
              product.weight.sizes());
  check_launch();
}

}  // namespace

HeadArguments head_arguments(const Heads& heads, int64_t head_width) {
  TORCH_INTERNAL_ASSERT(!heads.cosine.defined() || (heads.cosine.is_contiguous() && heads.sine.is_contiguous()));
  HeadArguments arguments;
  arguments.queries = heads.queries;
  arguments.keys = heads.keys;
  arguments.head_width = head_width;
  arguments.query_weight = pointer_or_none(heads.query_weight);
  arguments.key_weight = pointer_or_none(heads.key_weight);
  arguments.epsilon = static_cast<float>(heads.norm_epsilon);
  arguments.cosine = numbers_or_none<float>(heads.cosine);
  arguments.sine = numbers_or_none<float>(heads.sine);
  return arguments;
}

bool takes_tiles(const at::Tensor& weight) {
  constexpr int64_t shortest = 64, multiple = 8;
  return std::min(weight.size(0), weight.size(1)) >= shortest && weight.size(0) % multiple == 0 &&
         weight.size(1) % multiple == 0 && reaches_tensor_cores(weight);
}

bool built() {
  return true;
}

bool has_kernels_for(const at::Tensor& x) {
  return x.is_cuda() &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kHalf || x.scalar_type() == at::kBFloat16);
}

bool has_kernels_for_widths(const at::Tensor& parameter, const Widths& widths) {
  if (!has_kernels_for(parameter)) {
    return false;
  }
  constexpr int64_t threads = 32;
  const int64_t at_once = values_at_once(parameter);
  const int64_t lanes = widths.head / at_once;
  const bool lanes_divide_a_warp = lanes >= 1 && lanes <= threads && (lanes & (lanes - 1)) == 0;
  return widths.model % at_once == 0 && widths.model <= launch::max_norm_width && widths.feed_forward % at_once == 0 &&
         widths.head % (2 * at_once) == 0 && lanes_divide_a_warp;
}

bool can_read(const at::Tensor& x) {
  return !x.defined() ||
         (x.is_contiguous() && reinterpret_cast<uintptr_t>(x.const_data_ptr()) % launch::bytes_at_once == 0);
}

bool reaches_tensor_cores(const at::Tensor& x) {
  if (!has_kernels_for(x) || x.scalar_type() == at::kFloat || !can_read(x)) {
    return false;
  }
  const c10::cuda::CUDAGuard guard(x.device());
  return launch::has_tile_products();
}

bool has_row_products_for(int64_t inner, const at::Tensor& parameter) {
  return has_kernels_for(parameter) && launch::takes_row_product(precision_of(parameter), inner);
}

int64_t fast_row_products(const at::Tensor& parameter) {
  constexpr int64_t wide = 8, narrow = 32;
  return parameter.scalar_type() == at::kFloat ? wide : narrow;
}

bool has_tile_products_for(const at::Tensor& weight) {
  constexpr int64_t longest = 1024;
  return weight.size(1) <= longest && takes_tiles(weight);
}

bool plain_tile_product_is_faster(const at::Tensor& weight) {
  return launch::keeps_weight(weight.size(1)) && takes_tiles(weight);
}

bool has_adding_tile_products_for(const at::Tensor& weight) {
  constexpr int64_t longest = 3072, widest = 1024;
  return weight.size(1) <= longest && weight.size(0) <= widest && takes_tiles(weight);
}

bool tile_product_rotates(int64_t head_width) {
  return launch::rotates_heads_of(head_width);
}

bool has_judged_product_for(const at::Tensor& weight) {
  constexpr int64_t fewest = 4096;  // with fewer outputs logits are soon written and read
  return weight.size(0) >= fewest && takes_tiles(weight) && launch::takes_judged_product(weight.size(1));
}

at::Tensor judged_product(const at::Tensor& x, const at::Tensor& weight, int64_t outputs, const at::Tensor& tokens,
                          const at::Tensor& broken) {
  const at::Tensor own = x.contiguous(), wanted = tokens.contiguous();
  const at::TensorOptions numbers = x.options().dtype(at::kFloat);
  at::Tensor out = at::empty(tokens.sizes(), numbers);
  launch::JudgedProductArguments arguments;
  arguments.rows = tokens.numel();
  arguments.inner = weight.size(1);
  arguments.outputs = outputs;
  TORCH_INTERNAL_ASSERT(own.numel() == arguments.rows * arguments.inner && outputs <= weight.size(0));
  if (arguments.rows == 0) {
    return out;
  }
  const at::Tensor parts = at::empty({launch::judged_parts_of(arguments.rows)}, numbers),
                   logits = at::empty({arguments.rows}, numbers);
  arguments.x = own.const_data_ptr();
  arguments.weight = weight.const_data_ptr();
  arguments.tokens = wanted.const_data_ptr<int64_t>();
  arguments.parts = parts.data_ptr<float>();
  arguments.logits = logits.data_ptr<float>();
  arguments.out = out.data_ptr<float>();
  arguments.broken = broken.data_ptr<bool>();
  TORCH_CHECK(launch::judged_product(precision_of(x), arguments, stream_of(x)), "the driver takes no tiles of ",
              weight.sizes());
  check_launch();
  return out;
}

at::Tensor tile_product(const at::Tensor& x, const TileProduct& product) {
  at::Tensor out = at::empty({x.size(0), x.size(1), product.weight.size(0)}, x.options());
  run_tile_product(x, product, out, /*adds=*/false);
  return out;
}

void add_tile_product(const at::Tensor& onto, const at::Tensor& x, const TileProduct& product) {
  run_tile_product(x, product, onto, /*adds=*/true);
}

at::Tensor norm(const at::Tensor& x, const Norm& norm) {
  at::Tensor normed = at::empty_like(x);
  launch::norm(precision_of(x), norm_arguments(x, norm, normed), stream_of(x));
  check_launch();
  return normed;
}

at::Tensor embed_and_norm(const at::Tensor& x, const at::Tensor& tokens, const Embedding& embedding, const Norm& norm) {
  return embed_one_and_norm(x, tokens, {}, embedding, norm);
}

at::Tensor embed_one_and_norm(const at::Tensor& x, const at::Tensor& text, const at::Tensor& position,
                              const Embedding& embedding, const Norm& norm) {
  at::Tensor normed = at::empty_like(x);
  embed(norm_arguments(x, norm, normed), x, text, position, embedding);
  return normed;
}

void embed_one(const at::Tensor& x, const at::Tensor& text, const at::Tensor& position, const Embedding& embedding) {
  embed(row_arguments(x), x, text, position, embedding);
}

at::Tensor add_and_norm(const at::Tensor& x, const at::Tensor& update, const at::Tensor& bias, const Norm& norm) {
  TORCH_INTERNAL_ASSERT(update.is_contiguous() && update.numel() == x.numel());
  at::Tensor normed = at::empty_like(x);
  NormArguments arguments = norm_arguments(x, norm, normed);
  arguments.update = update.const_data_ptr();
  arguments.update_bias = pointer_or_none(bias);
  launch::norm(precision_of(x), arguments, stream_of(x));
  check_launch();
  return normed;
}

void prepare_heads(const at::Tensor& qkv, const Heads& heads, int64_t first_position) {
  TORCH_INTERNAL_ASSERT(qkv.is_contiguous());
  const int64_t width = qkv.size(2) / (heads.queries + 2 * heads.keys);
  launch::prepare_heads(precision_of(qkv), qkv.data_ptr(), head_arguments(heads, width), qkv.size(0) * qkv.size(1),
                        qkv.size(1), first_position, stream_of(qkv));
  check_launch();
}

void bias_and_activation(const at::Tensor& x, const at::Tensor& bias, Activation activation) {
  TORCH_INTERNAL_ASSERT(x.is_contiguous());
  const int64_t width = x.size(-1);
  launch::bias_and_activation(precision_of(x), activation, x.data_ptr(), pointer_or_none(bias), x.numel() / width,
                              width, stream_of(x));
  check_launch();
}

at::Tensor gate(const at::Tensor& x, const at::Tensor& bias, Activation activation) {
  TORCH_INTERNAL_ASSERT(x.is_contiguous());
  const int64_t width = x.size(2) / 2;
  at::Tensor out = at::empty({x.size(0), x.size(1), width}, x.options());
  launch::gate(precision_of(x), activation, x.const_data_ptr(), pointer_or_none(bias), out.data_ptr(),
               x.size(0) * x.size(1), width, stream_of(x));
  check_launch();
  return out;
}

DecodeWorkspace make_decode_workspace(const at::Tensor& keys, int64_t queries) {
  const int64_t heads = keys.size(0) * queries, width = keys.size(3);
  return {at::empty({heads, decode_splits(keys), width + launch::decode_found_extra}, keys.options().dtype(at::kFloat)),
          at::zeros({heads}, keys.options().dtype(at::kInt))};
}

at::Tensor decode_attention(const at::Tensor& qkv, const Heads& heads, const at::Tensor& keys, const at::Tensor& values,
                            const at::Tensor& position, const DecodeWorkspace& workspace) {
  TORCH_INTERNAL_ASSERT(qkv.is_contiguous() && keys.is_contiguous() && values.is_contiguous());
  TORCH_INTERNAL_ASSERT(workspace.ended.numel() == keys.size(0) * heads.queries &&
                        workspace.found.size(1) == decode_splits(keys));
  at::Tensor mixed = at::empty({qkv.size(0), 1, heads.queries * keys.size(3)}, qkv.options());
  DecodeArguments arguments;
  arguments.heads = head_arguments(heads, keys.size(3));
  arguments.qkv = qkv.const_data_ptr();
  arguments.keys = keys.data_ptr();
  arguments.values = values.data_ptr();
  arguments.position = position.const_data_ptr<int64_t>();
  arguments.mixed = mixed.data_ptr();
  arguments.batch = keys.size(0);
  arguments.capacity = keys.size(2);
  arguments.splits = decode_splits(keys);
  arguments.found = workspace.found.data_ptr<float>();
  arguments.ended = workspace.ended.data_ptr<int>();
  launch::decode_attention(precision_of(qkv), arguments, stream_of(qkv));
  check_launch();
  return mixed;
}

bool decode_layers(const at::Tensor& x, const std::vector<DecodedLayer>& layers, const at::Tensor& position,
                   Activation activation) {
  TORCH_INTERNAL_ASSERT(x.is_contiguous());
  if (layers.empty() || static_cast<int64_t>(layers.size()) > launch::max_decode_layers) {
    return false;
  }
  const DecodedLayer& first = layers.front();
  const int64_t width = x.size(2), head_width = first.keys.size(3);
  if (first.heads.queries != first.heads.keys || first.heads.queries * head_width != width ||
      first.expand.weight.size(0) != first.contract.weight.size(1)) {
    return false;
  }
  launch::DecodeLayersArguments arguments;
  arguments.count = static_cast<int64_t>(layers.size());
  std::transform(layers.begin(), layers.end(), arguments.layers, decode_layer);
  arguments.x = x.data_ptr();
  arguments.width = width;
  arguments.hidden = first.contract.weight.size(1);
  arguments.attention.heads = head_arguments(first.heads, head_width);
  arguments.attention.position = position.const_data_ptr<int64_t>();
  arguments.attention.batch = x.size(0);
  arguments.attention.capacity = first.keys.size(2);
  arguments.attention.splits = decode_splits(first.keys);
  arguments.epsilon = static_cast<float>(first.attention_norm.epsilon);
  arguments.form = first.attention_norm.form;
  arguments.activation = activation;
  const bool taken = launch::decode_layers(precision_of(x), arguments, stream_of(x));
  check_launch();
  return taken;
}

at::Tensor row_product(const at::Tensor& x, const RowProduct& product) {
  const RowProductArguments arguments = product_arguments(x, product);
  at::Tensor out = at::empty({x.size(0), x.size(1), arguments.outputs}, x.options());
  run_product(arguments, out);
  return out;
}

void add_row_product(const at::Tensor& onto, const at::Tensor& x, const RowProduct& product) {
  RowProductArguments arguments = product_arguments(x, product);
  arguments.adds = true;
  run_product(arguments, onto);
}

}  // namespace demask::kernels::cuda

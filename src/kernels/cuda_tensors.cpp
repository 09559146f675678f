#include <ATen/ATen.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>

#include "kernels/cuda.h"
#include "kernels/cuda_launch.h"

namespace demask::kernels::cuda {
namespace {

using launch::DecodeArguments;
using launch::DrawArguments;
using launch::JudgeArguments;
using launch::MeasureArguments;
using launch::NormArguments;
using launch::Precision;
using launch::RevealArguments;
using launch::StabilityArguments;
using launch::TraceArguments;

Precision precision_of(const at::Tensor& x) {
  switch (x.scalar_type()) {
    case at::kHalf:
      return Precision::float16;
    case at::kBFloat16:
      return Precision::bfloat16;
    default:
      TORCH_INTERNAL_ASSERT(x.scalar_type() == at::kFloat);
      return Precision::float32;
  }
}

cudaStream_t stream_of(const at::Tensor& x) {
  return c10::cuda::getCurrentCUDAStream(x.device().index()).stream();
}

const void* pointer_or_none(const at::Tensor& x) {
  return x.defined() ? x.const_data_ptr() : nullptr;
}

const float* floats_or_none(const at::Tensor& x) {
  return x.defined() ? x.const_data_ptr<float>() : nullptr;
}

void check_launch() {
  C10_CUDA_CHECK(cudaGetLastError());
}

int64_t values_at_once(const at::Tensor& x) {
  return launch::bytes_at_once / static_cast<int64_t>(x.element_size());
}

NormArguments norm_arguments(const at::Tensor& x, const Norm& norm, const at::Tensor& normed) {
  TORCH_INTERNAL_ASSERT(x.is_contiguous());
  NormArguments arguments;
  arguments.x = x.data_ptr();
  arguments.length = x.size(1);
  arguments.weight = norm.weight.const_data_ptr();
  arguments.bias = pointer_or_none(norm.bias);
  arguments.normed = normed.data_ptr();
  arguments.rows = x.size(0) * x.size(1);
  arguments.width = x.size(2);
  arguments.epsilon = static_cast<float>(norm.epsilon);
  return arguments;
}

at::Tensor embed(const at::Tensor& x, const at::Tensor& tokens, const at::Tensor& position, const Embedding& embedding,
                 const Norm& norm) {
  TORCH_INTERNAL_ASSERT(tokens.stride(1) == 1);
  at::Tensor normed = at::empty_like(x);
  NormArguments arguments = norm_arguments(x, norm, normed);
  arguments.tokens = tokens.const_data_ptr<int64_t>();
  arguments.token_stride = tokens.stride(0);
  arguments.first_position = position.defined() ? position.const_data_ptr<int64_t>() : nullptr;
  arguments.token_embedding = embedding.token.const_data_ptr();
  arguments.position_embedding = pointer_or_none(embedding.position);
  launch::norm(precision_of(x), arguments, stream_of(x));
  check_launch();
  return normed;
}

// Whether the rows of logits [..., V] lie evenly apart.
bool even_rows(const at::Tensor& logits) {
  return (logits.stride(-1) == 1 || logits.size(-1) == 1) &&
         (logits.dim() < 3 || logits.size(0) == 1 || logits.stride(0) == logits.size(1) * logits.stride(1));
}

at::Tensor with_even_rows(const at::Tensor& logits) {
  return even_rows(logits) ? logits : logits.contiguous();
}

launch::Logits logits_of(const at::Tensor& even) {
  TORCH_INTERNAL_ASSERT(even_rows(even));
  const int64_t outputs = even.size(-1);
  return {even.const_data_ptr(), even.dim() == 1 ? outputs : even.stride(-2), even.numel() / outputs, outputs};
}

}  // namespace

bool built() {
  return true;
}

bool has_kernels_for(const at::Tensor& x) {
  return x.is_cuda() &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kHalf || x.scalar_type() == at::kBFloat16);
}

bool has_kernels_for_model(const at::Tensor& parameter, int64_t width, int64_t head_width) {
  if (!has_kernels_for(parameter)) {
    return false;
  }
  const int64_t at_once = values_at_once(parameter), threads = 32;
  const int64_t lanes = head_width / at_once;
  const bool lanes_divide_a_warp = lanes >= 1 && lanes <= threads && (lanes & (lanes - 1)) == 0;
  return width % at_once == 0 && width <= launch::max_norm_chunks * threads * at_once &&
         head_width % (2 * at_once) == 0 && lanes_divide_a_warp;
}

at::Tensor embed_and_norm(const at::Tensor& x, const at::Tensor& tokens, const Embedding& embedding, const Norm& norm) {
  return embed(x, tokens, {}, embedding, norm);
}

at::Tensor embed_one_and_norm(const at::Tensor& x, const at::Tensor& text, const at::Tensor& position,
                              const Embedding& embedding, const Norm& norm) {
  return embed(x, text, position, embedding, norm);
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

void rotate(const at::Tensor& qkv, const at::Tensor& cosine, const at::Tensor& sine, int64_t heads) {
  TORCH_INTERNAL_ASSERT(qkv.is_contiguous() && cosine.is_contiguous() && sine.is_contiguous());
  launch::rotate(precision_of(qkv), qkv.data_ptr(), cosine.const_data_ptr<float>(), sine.const_data_ptr<float>(),
                 qkv.size(0) * qkv.size(1), qkv.size(1), heads, qkv.size(2) / 3 / heads, stream_of(qkv));
  check_launch();
}

void bias_gelu(const at::Tensor& x, const at::Tensor& bias) {
  TORCH_INTERNAL_ASSERT(x.is_contiguous());
  const int64_t width = x.size(-1);
  launch::bias_gelu(precision_of(x), x.data_ptr(), pointer_or_none(bias), x.numel() / width, width, stream_of(x));
  check_launch();
}

at::Tensor decode_attention(const at::Tensor& qkv, const at::Tensor& keys, const at::Tensor& values,
                            const at::Tensor& position, const at::Tensor& cosine, const at::Tensor& sine) {
  TORCH_INTERNAL_ASSERT(qkv.is_contiguous() && keys.is_contiguous() && values.is_contiguous());
  at::Tensor mixed = at::empty({qkv.size(0), 1, qkv.size(2) / 3}, qkv.options());
  DecodeArguments arguments;
  arguments.qkv = qkv.const_data_ptr();
  arguments.keys = keys.data_ptr();
  arguments.values = values.data_ptr();
  arguments.position = position.const_data_ptr<int64_t>();
  arguments.cosine = floats_or_none(cosine);
  arguments.sine = floats_or_none(sine);
  arguments.mixed = mixed.data_ptr();
  arguments.batch = keys.size(0);
  arguments.heads = keys.size(1);
  arguments.capacity = keys.size(2);
  arguments.head_width = keys.size(3);
  launch::decode_attention(precision_of(qkv), arguments, stream_of(qkv));
  check_launch();
  return mixed;
}

void draw(const at::Tensor& logits, const at::Tensor& forbidden, const at::Tensor& uniforms, const at::Tensor& wanted,
          const at::Tensor& given, const DrawFilters& filters, const at::Tensor& tokens,
          const at::Tensor& probabilities, const at::Tensor& broken) {
  const at::Tensor rows = with_even_rows(logits);
  TORCH_INTERNAL_ASSERT(uniforms.is_contiguous() && tokens.is_contiguous() && probabilities.is_contiguous());
  TORCH_INTERNAL_ASSERT(!wanted.defined() || (wanted.is_contiguous() && given.is_contiguous()));
  DrawArguments arguments;
  arguments.logits = logits_of(rows);
  arguments.forbidden = forbidden.const_data_ptr<float>();
  arguments.uniforms = uniforms.const_data_ptr<float>();
  arguments.wanted = wanted.defined() ? wanted.const_data_ptr<bool>() : nullptr;
  arguments.given = wanted.defined() ? given.const_data_ptr<int64_t>() : nullptr;
  arguments.tokens = tokens.data_ptr<int64_t>();
  arguments.probabilities = probabilities.data_ptr<float>();
  arguments.broken = broken.data_ptr<bool>();
  arguments.temperature = static_cast<float>(filters.temperature);
  if (filters.temperatures.defined()) {
    TORCH_INTERNAL_ASSERT(filters.temperatures.is_contiguous());
    arguments.temperatures = filters.temperatures.const_data_ptr<float>();
    arguments.rows_per_temperature = arguments.logits.rows / filters.temperatures.numel();
  }
  arguments.top_k = filters.top_k.value_or(0);
  arguments.top_p = static_cast<float>(filters.top_p);
  launch::draw(precision_of(rows), arguments, stream_of(rows));
  check_launch();
}

at::Tensor judge(const at::Tensor& logits, const at::Tensor& tokens, int64_t column, bool logarithm,
                 const at::Tensor& broken) {
  const at::Tensor rows = with_even_rows(logits);
  const at::Tensor chosen = tokens.defined() ? tokens.contiguous() : tokens;
  at::Tensor out =
      at::empty(rows.sizes().slice(0, static_cast<size_t>(rows.dim() - 1)), rows.options().dtype(at::kFloat));
  JudgeArguments arguments;
  arguments.logits = logits_of(rows);
  arguments.tokens = chosen.defined() ? chosen.const_data_ptr<int64_t>() : nullptr;
  arguments.column = column;
  arguments.out = out.data_ptr<float>();
  arguments.logarithm = logarithm;
  arguments.broken = broken.data_ptr<bool>();
  launch::judge(precision_of(rows), arguments, stream_of(rows));
  check_launch();
  return out;
}

void measure(const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& log_probability,
             const at::Tensor& margin, const at::Tensor& entropy, const at::Tensor& broken) {
  const at::Tensor rows = with_even_rows(logits), chosen = tokens.contiguous();
  TORCH_INTERNAL_ASSERT(log_probability.is_contiguous() && margin.is_contiguous() && entropy.is_contiguous());
  MeasureArguments arguments;
  arguments.logits = logits_of(rows);
  arguments.tokens = chosen.const_data_ptr<int64_t>();
  arguments.log_probability = log_probability.data_ptr<float>();
  arguments.margin = margin.data_ptr<float>();
  arguments.entropy = entropy.data_ptr<float>();
  arguments.broken = broken.data_ptr<bool>();
  launch::measure(precision_of(rows), arguments, stream_of(rows));
  check_launch();
}

at::Tensor highest(const at::Tensor& scores, const at::Tensor& eligible, const at::Tensor& count) {
  const at::Tensor ordered = scores.contiguous(), allowed = eligible.contiguous();
  at::Tensor chosen = at::empty_like(allowed);
  launch::highest(ordered.const_data_ptr<float>(), allowed.const_data_ptr<bool>(), count.const_data_ptr<int64_t>(),
                  count.stride(0), chosen.data_ptr<bool>(), ordered.size(0), ordered.size(1), stream_of(ordered));
  check_launch();
  return chosen;
}

bool has_reveal_kernel_for(const at::Tensor& certainty) {
  return has_kernels_for(certainty) && certainty.size(1) <= launch::max_reveal_length;
}

at::Tensor reveal(const at::Tensor& certainty, const at::Tensor& drawn, const at::Tensor& steps_left,
                  const RevealRule& rule) {
  const at::Tensor ordered = certainty.contiguous(), allowed = drawn.contiguous();
  at::Tensor masked = at::empty_like(allowed);
  RevealArguments arguments;
  arguments.certainty = ordered.const_data_ptr<float>();
  arguments.drawn = allowed.const_data_ptr<bool>();
  if (steps_left.defined()) {
    arguments.steps_left = steps_left.const_data_ptr<int64_t>();
    arguments.steps_left_stride = steps_left.stride(0);
  }
  arguments.masked = masked.data_ptr<bool>();
  arguments.batch = ordered.size(0);
  arguments.length = ordered.size(1);
  launch::reveal(rule, arguments, stream_of(ordered));
  check_launch();
  return masked;
}

at::Tensor stable_probability(const at::Tensor& logits, const at::Tensor& tokens, const Stability& stability,
                              const at::Tensor& previous, const at::Tensor& steady, const at::Tensor& broken) {
  const at::Tensor rows = with_even_rows(logits), chosen = tokens.contiguous();
  TORCH_INTERNAL_ASSERT(previous.is_contiguous() && steady.is_contiguous());
  at::Tensor certainty = at::empty_like(chosen, chosen.options().dtype(at::kFloat));
  StabilityArguments arguments;
  arguments.logits = logits_of(rows);
  arguments.tokens = chosen.const_data_ptr<int64_t>();
  arguments.previous = previous.data_ptr<float>();
  arguments.steady = steady.data_ptr<int64_t>();
  arguments.certainty = certainty.data_ptr<float>();
  arguments.broken = broken.data_ptr<bool>();
  arguments.least_probability = static_cast<float>(stability.probability);
  arguments.divergence = static_cast<float>(stability.divergence);
  arguments.history = stability.history;
  launch::stable_probability(precision_of(rows), arguments, stream_of(rows));
  check_launch();
  return certainty;
}

static_assert(max_traced_likeliest == launch::max_traced_likeliest);

void trace(const at::Tensor& slot, const at::Tensor& logits, const at::Tensor& tokens, const at::Tensor& masked,
           const at::Tensor& forbidden, const TraceTables& tables) {
  const at::Tensor rows = with_even_rows(logits), chosen = tokens.contiguous(),
                   hidden = masked.defined() ? masked.contiguous() : masked;
  TORCH_INTERNAL_ASSERT(tables.confidence.is_contiguous() && tables.likeliest.is_contiguous() &&
                        tables.likeliest_probabilities.is_contiguous() &&
                        tables.likeliest.size(-1) <= max_traced_likeliest);
  TraceArguments arguments;
  arguments.logits = logits_of(rows);
  arguments.tokens = chosen.const_data_ptr<int64_t>();
  arguments.forbidden = forbidden.const_data_ptr<float>();
  arguments.slot = slot.const_data_ptr<int64_t>();
  if (tables.tokens.defined()) {
    arguments.traced_tokens = tables.tokens.data_ptr<int64_t>();
  }
  if (tables.masked.defined()) {
    arguments.masked = hidden.const_data_ptr<bool>();
    arguments.traced_masked = tables.masked.data_ptr<bool>();
  }
  arguments.confidence = tables.confidence.data_ptr<float>();
  arguments.likeliest = tables.likeliest.data_ptr<int64_t>();
  arguments.likeliest_probabilities = tables.likeliest_probabilities.data_ptr<float>();
  arguments.likeliest_count = tables.likeliest.size(-1);
  launch::trace(precision_of(rows), arguments, stream_of(rows));
  check_launch();
}

at::Tensor uniform(const at::Tensor& seeds, const at::Tensor& sample_indices, const at::Tensor& steps,
                   int64_t positions, uint32_t purpose) {
  TORCH_INTERNAL_ASSERT(seeds.is_contiguous() && sample_indices.is_contiguous() && steps.is_contiguous());
  at::Tensor out = at::empty({sample_indices.size(0), positions}, sample_indices.options().dtype(at::kFloat));
  launch::uniform(seeds.const_data_ptr<int64_t>(), sample_indices.const_data_ptr<int64_t>(),
                  steps.const_data_ptr<int64_t>(), steps.size(0) > 1 ? 1 : 0, purpose, out.data_ptr<float>(),
                  out.size(0), positions, stream_of(out));
  check_launch();
  return out;
}

}  // namespace demask::kernels::cuda

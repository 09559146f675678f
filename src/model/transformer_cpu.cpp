#include "model/transformer_cpu.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/threads.h"

namespace demask {
namespace {

using kernels::cpu::Epilogue;
using kernels::cpu::product;
using kernels::cpu::Rows;
using kernels::cpu::run_tasks;

// Rows that go through a layer together: with their 4C-wide hidden states they fill half of a second-level cache.
constexpr int64_t most_rows = 96;

// Positions of a beginning that are read together, enough to share among threads, and the logits made of them at once.
constexpr int64_t most_rows_read = 1024;
constexpr int64_t most_logits_made = int64_t{1} << 22;

// The epilogue that ends the feed-forward's first layer.
Epilogue activation_of(const TransformerDescription& of) {
  switch (of.activation) {
    case Activation::gelu:
      return of.gated ? Epilogue::gated_gelu : Epilogue::gelu;
    case Activation::gelu_tanh:
      return of.gated ? Epilogue::gated_gelu_tanh : Epilogue::gelu_tanh;
    case Activation::silu:
      break;
  }
  return of.gated ? Epilogue::gated_silu : Epilogue::silu;
}

const float* floats_or_none(const at::Tensor& x) {
  return x.defined() ? x.data_ptr<float>() : nullptr;
}

int64_t divide_up(int64_t number, int64_t by) {
  return (number + by - 1) / by;
}

void* offset(void* elements, int64_t bytes) {
  return static_cast<char*>(elements) + bytes;
}

// Whether every row of x [B, ...] holds the same numbers.
bool rows_are_equal(const at::Tensor& x) {
  const int64_t rows = x.size(0),
                bytes = x.numel() / std::max<int64_t>(rows, 1) * static_cast<int64_t>(x.element_size());
  const char* const first = static_cast<const char*>(x.data_ptr());
  for (int64_t row = 1; row < rows; ++row) {
    if (std::memcmp(first, first + row * bytes, static_cast<size_t>(bytes)) != 0) {
      return false;
    }
  }
  return true;
}

void check_tokens(const at::Tensor& tokens, int64_t vocabulary) {
  TORCH_CHECK_INDEX(
      tokens.numel() == 0 || (tokens.min().item<int64_t>() >= 0 && tokens.max().item<int64_t>() < vocabulary),
      "a token is not among the model's ", vocabulary);
}

}  // namespace

std::unique_ptr<TransformerOnCpu> TransformerOnCpu::make(WeightSource& source, at::ScalarType dtype, int64_t forwards) {
  const TransformerDescription& of = source.description();
  const Isa* isa = source.options().device().is_cpu() ? kernels::cpu::find(dtype) : nullptr;
  // bfloat16 takes neighbours of the inner dimension two by two.
  const bool suits = of.width % 2 == 0 && of.head_width % 2 == 0 && of.layers > 0;
  return isa != nullptr && suits ? std::unique_ptr<TransformerOnCpu>(new TransformerOnCpu(*isa, source, forwards))
                                 : nullptr;
}

TransformerOnCpu::TransformerOnCpu(const Isa& isa, WeightSource& source, int64_t forwards)
    : isa_(isa), description_(source.description()), weights_(read_weights(isa, source, form_for(isa, forwards))) {}

void* TransformerOnCpu::Buffer::reserve(int64_t size) {
  if (!bytes.defined() || bytes.size(0) < size) {
    bytes = at::Tensor();  // first, for its memory
    bytes = at::empty({size}, at::kByte);
  }
  return bytes.data_ptr();
}

void TransformerOnCpu::norm(const CpuNorm& norm, const float* x, int64_t rows, void* out) const {
  const float* const weight = norm.weight.data_ptr<float>();
  const auto epsilon = static_cast<float>(description_.norm_epsilon);
  if (description_.norm == NormKind::rms) {
    isa_.rms_norm(x, weight, rows, width(), epsilon, out, spaced(width()));
  } else {
    isa_.norm(x, weight, floats_or_none(norm.bias), rows, width(), epsilon, out, spaced(width()));
  }
}

template <typename Work>
void TransformerOnCpu::for_rows(int64_t rows, const Work& work) {
  const int64_t threads = kernels::thread_count();
  // Too few to share: then each product shares its panels.
  const bool few = rows < 2 * threads * isa_.rows;
  const int64_t pieces = few ? divide_up(rows, most_rows) : divide_up(divide_up(rows, most_rows), threads) * threads;
  const int64_t each = divide_up(rows, pieces);
  const int64_t bytes = each * (spaced(width()) + spaced(expanded_width())) * isa_.element_bytes +
                        each * description_.query_key_value_width() * static_cast<int64_t>(sizeof(float));
  char* const scratch = static_cast<char*>(scratch_.reserve(bytes * threads));
  const auto run = [&](int64_t first_piece, int64_t last_piece, int64_t thread) {
    for (int64_t piece = first_piece; piece < last_piece; ++piece) {
      const int64_t first = piece * each, last = std::min(first + each, rows);
      if (first < last) {
        work(first, last, scratch + bytes * thread);
      }
    }
  };
  if (few) {
    run(0, pieces, 0);
  } else {
    run_tasks(pieces, run);
  }
}

void TransformerOnCpu::embed(const Pass& pass, int64_t first, int64_t last, char* scratch) const {
  const int64_t width = this->width();
  const float* positions = floats_or_none(weights_.position_embedding);
  for (int64_t row = first; row < last; ++row) {
    float* x = pass.x + row * width;
    embed_token(isa_, weights_, pass.tokens[row], width, x);
    if (positions == nullptr) {
      continue;
    }
    const float* position = positions + (pass.past + row % pass.length) * width;
    for (int64_t i = 0; i < width; ++i) {
      x[i] += position[i];
    }
  }
  query_key_value(pass, weights_.blocks.front(), first, last, scratch);
}

// From the residual stream to rotated queries and keys, and values. scratch: normed rows, expanded ones, then floats.
void TransformerOnCpu::query_key_value(const Pass& pass, const CpuBlock& block, int64_t first, int64_t last,
                                       char* scratch) const {
  const int64_t rows = last - first, width = description_.query_key_value_width(), stride = spaced(width);
  norm(block.attention_norm, pass.x + first * this->width(), rows, scratch);
  const Rows normed{scratch, spaced(this->width()), rows};
  void* const out = offset(pass.qkv, first * stride * isa_.element_bytes);
  const bool in_place = isa_.element_bytes == static_cast<int64_t>(sizeof(float));
  float* const floats = static_cast<float*>(
      in_place ? out : scratch + rows * (spaced(this->width()) + spaced(expanded_width())) * isa_.element_bytes);
  const int64_t float_stride = in_place ? stride : width;
  product(isa_, block.query_key_value, normed, Epilogue::store_single, floats, float_stride);
  const auto norm_heads = [&](const CpuNorm& norm, float* x, int64_t heads) {
    if (norm.weight.defined()) {
      isa_.rms_norm_heads(x, float_stride, rows, heads, head_width(), norm.weight.data_ptr<float>(),
                          static_cast<float>(description_.norm_epsilon));
    }
  };
  norm_heads(block.query_norm, floats, heads());
  norm_heads(block.key_norm, floats + heads() * head_width(), key_heads());
  if (description_.rotary) {
    isa_.rotate(floats, float_stride, rows, first, pass.length, pass.past, heads() + key_heads(), head_width(),
                weights_.cosine.data_ptr<float>(), weights_.sine.data_ptr<float>());
  }
  if (!in_place) {
    isa_.convert(floats, float_stride, rows, width, out, stride);
  }
}

// Weights of zero meet values past the last known position, which must not be NaN.
void TransformerOnCpu::clear_values_from(int64_t known, int64_t capacity, void* values) const {
  const int64_t first = known / 2 * 2;  // pairs lie side by side in bfloat16
  const int64_t position_bytes = isa_.columns * isa_.element_bytes;
  for (int64_t panel = 0; panel < round_to_panels(head_width()) / isa_.columns; ++panel) {
    std::memset(offset(values, (panel * capacity + first) * position_bytes), 0,
                static_cast<size_t>((capacity - first) * position_bytes));
  }
}

// One head of keys of one text a task, or some of its queries where there are few heads.
void TransformerOnCpu::attend(const Pass& pass, size_t layer) {
  const int64_t columns = isa_.columns, stride = spaced(description_.query_key_value_width());
  const bool chosen = layer + 1 == weights_.blocks.size() && pass.positions != nullptr;
  const int64_t queries = chosen ? pass.wanted : pass.length;
  const int64_t known = std::max(pass.past + pass.length, pass.cache != nullptr ? pass.cache->kept : 0);
  const int64_t capacity = pass.cache != nullptr ? pass.cache->capacity : divide_up(known, columns) * columns;
  const int64_t all_heads = pass.batch * key_heads(), threads = kernels::thread_count();
  const bool split = pass.cache == nullptr && all_heads < 2 * threads;
  const int64_t parts = split ? std::min(divide_up(2 * threads, all_heads), divide_up(queries, 4 * isa_.rows)) : 1;
  const int64_t each = divide_up(queries, parts);
  const int64_t packed_bytes = pass.cache != nullptr ? 0 : key_bytes(capacity) + value_bytes(capacity);
  const int64_t bytes = packed_bytes + isa_.attend_scratch(head_width(), capacity);
  char* const scratch = static_cast<char*>(scratch_.reserve(bytes * threads));

  run_tasks(all_heads * parts, [&](int64_t first, int64_t last, int64_t thread) {
    char* const own = scratch + bytes * thread;
    int64_t packed = -1;  // the head whose keys stand in `own`
    for (int64_t task = first; task < last; ++task) {
      const int64_t text = task / parts / key_heads(), head = task / parts % key_heads(), part = task % parts;
      char* const qkv = static_cast<char*>(pass.qkv) + text * pass.length * stride * isa_.element_bytes;
      const auto of_head = [&](int64_t number) { return qkv + number * head_width() * isa_.element_bytes; };
      void* keys = own;
      void* values = own + key_bytes(capacity);
      if (pass.cache != nullptr) {
        keys = offset(pass.cache->keys[layer].data_ptr(), task * key_bytes(capacity));
        values = offset(pass.cache->values[layer].data_ptr(), task * value_bytes(capacity));
      }
      if (pass.cache != nullptr || packed != task / parts) {
        if (pass.cache == nullptr) {
          clear_values_from(known, capacity, values);
        }
        isa_.pack_keys(of_head(heads() + head), of_head(heads() + key_heads() + head), stride, pass.past, pass.length,
                       head_width(), capacity, keys, values);
        packed = task / parts;
      }
      const int64_t first_query = part * each;
      kernels::cpu::AttendArguments arguments;
      arguments.queries = of_head(head * group()) + (chosen ? 0 : first_query * stride * isa_.element_bytes);
      arguments.query_stride = stride;
      arguments.chosen = chosen ? pass.positions + text * pass.wanted + first_query : nullptr;
      arguments.keys = keys;
      arguments.values = values;
      arguments.rows = std::min(each, queries - first_query);
      arguments.head_width = head_width();
      arguments.group = group();
      arguments.capacity = capacity;
      arguments.known = known;
      arguments.first_position = pass.past + (chosen ? 0 : first_query);
      arguments.causal = !description_.bidirectional;
      arguments.scratch = own + packed_bytes;
      arguments.out_stride = spaced(heads() * head_width());
      arguments.out =
          offset(pass.mixed, ((text * queries + first_query) * arguments.out_stride + head * group() * head_width()) *
                                 isa_.element_bytes);
      if (arguments.rows > 0) {
        isa_.attend(arguments);
      }
    }
  });
}

// Everything from one attention to the next, or to the logits.
void TransformerOnCpu::after_attention(const Pass& pass, size_t layer, int64_t first, int64_t last,
                                       char* scratch) const {
  const CpuBlock& block = weights_.blocks[layer];
  const int64_t rows = last - first, width = this->width(), mixed_stride = spaced(heads() * head_width());
  float* const x = pass.x + first * width;
  const Rows mixed{offset(pass.mixed, first * mixed_stride * isa_.element_bytes), mixed_stride, rows};
  product(isa_, block.attention_projection, mixed, Epilogue::add, x, width);
  norm(block.feed_forward_norm, x, rows, scratch);
  const Rows normed{scratch, spaced(width), rows};
  char* const expanded = scratch + rows * spaced(width) * isa_.element_bytes;
  const Rows hidden{expanded, spaced(expanded_width()), rows};
  product(isa_, block.expand, normed, activation_of(description_), expanded, hidden.stride);
  product(isa_, block.contract, hidden, Epilogue::add, x, width);
  if (layer + 1 < weights_.blocks.size()) {
    query_key_value(pass, weights_.blocks[layer + 1], first, last, scratch);
    return;
  }
  if (pass.hidden != nullptr) {
    norm(weights_.final_norm, x, rows, offset(pass.hidden, first * spaced(width) * isa_.element_bytes));
    return;
  }
  norm(weights_.final_norm, x, rows, scratch);
  product(isa_, weights_.head, normed, Epilogue::store_single, pass.logits + first * weights_.head.outputs,
          weights_.head.outputs);
}

at::Tensor TransformerOnCpu::forward(const at::Tensor& tokens, const at::Tensor& positions, Cache* cache) {
  Pass pass;
  pass.batch = tokens.size(0);
  pass.length = tokens.size(1);
  pass.past = cache != nullptr ? cache->length : 0;
  pass.cache = cache;
  const at::Tensor own_tokens = tokens.contiguous();
  const at::Tensor own_positions = positions.defined() ? positions.contiguous() : positions;
  check_tokens(own_tokens, description_.vocabulary_size);
  pass.tokens = own_tokens.data_ptr<int64_t>();
  pass.positions = own_positions.defined() ? own_positions.data_ptr<int64_t>() : nullptr;
  pass.wanted = own_positions.defined() ? own_positions.size(1) : pass.length;
  at::Tensor logits = at::empty({pass.batch, pass.wanted, weights_.head.outputs}, at::kFloat);
  pass.logits = logits.data_ptr<float>();
  if (logits.numel() > 0) {
    run(pass);
  }
  return logits;
}

void TransformerOnCpu::run(Pass& pass) {
  const int64_t rows = pass.batch * pass.length, width = this->width(), size = isa_.element_bytes;
  check_file(weights_);
  pass.x = static_cast<float*>(x_.reserve(rows * width * static_cast<int64_t>(sizeof(float))));
  pass.qkv = qkv_.reserve(rows * spaced(description_.query_key_value_width()) * size);
  pass.mixed = mixed_.reserve(rows * spaced(heads() * head_width()) * size);

  for_rows(rows, [&](int64_t first, int64_t last, char* scratch) { embed(pass, first, last, scratch); });
  for (size_t layer = 0; layer < weights_.blocks.size(); ++layer) {
    attend(pass, layer);
    int64_t rows_left = rows;
    if (layer + 1 == weights_.blocks.size() && pass.positions != nullptr) {
      rows_left = pass.batch * pass.wanted;
      float* chosen = static_cast<float*>(chosen_x_.reserve(rows_left * width * static_cast<int64_t>(sizeof(float))));
      for (int64_t row = 0; row < rows_left; ++row) {
        const float* from = pass.x + (row / pass.wanted * pass.length + pass.positions[row]) * width;
        std::copy(from, from + width, chosen + row * width);
      }
      pass.x = chosen;
    }
    for_rows(rows_left,
             [&](int64_t first, int64_t last, char* scratch) { after_attention(pass, layer, first, last, scratch); });
    drop_used(isa_, weights_, weights_.blocks[layer]);
  }
  check_file(weights_);
}

at::Tensor TransformerOnCpu::read(const at::Tensor& tokens, const Cache& cache, const OnLogits& on_logits) {
  check_tokens(tokens, description_.vocabulary_size);
  at::Tensor last = at::empty({tokens.size(0), weights_.head.outputs}, at::kFloat);
  for_slices(tokens.size(0), tokens.size(1), most_rows_read, [&](const Slice& slice) {
    const at::Tensor own_tokens = slice.of(tokens).contiguous();
    Cache own_cache = texts_of(cache, slice);
    Pass pass;
    pass.batch = slice.texts;
    pass.length = slice.positions;
    pass.past = own_cache.length;
    pass.cache = &own_cache;
    pass.tokens = own_tokens.data_ptr<int64_t>();
    pass.hidden = hidden_.reserve(pass.batch * pass.length * spaced(width()) * isa_.element_bytes);
    run(pass);
    const int64_t rows_of_logits = std::max<int64_t>(1, most_logits_made / weights_.head.outputs);
    for_slices(slice.texts, slice.positions, rows_of_logits, [&](const Slice& part) {
      const int64_t first = part.first_text * slice.positions + part.first_position;
      const Rows hidden{offset(pass.hidden, first * spaced(width()) * isa_.element_bytes), spaced(width()),
                        part.texts * part.positions};
      const at::Tensor logits = at::empty({part.texts, part.positions, weights_.head.outputs}, at::kFloat);
      product(isa_, weights_.head, hidden, Epilogue::store_single, logits.data_ptr<float>(), weights_.head.outputs);
      const Slice known{slice.first_text + part.first_text, part.texts, slice.first_position + part.first_position,
                        part.positions};
      on_logits(known, logits);
      if (known.first_position + known.positions == tokens.size(1)) {
        last.narrow(0, known.first_text, known.texts).copy_(logits.select(1, -1));
      }
    });
  });
  return last;
}

TransformerOnCpu::Cache TransformerOnCpu::texts_of(const Cache& cache, const Slice& slice) const {
  Cache own;
  own.capacity = cache.capacity;
  own.length = slice.first_position;
  for (size_t layer = 0; layer < cache.keys.size(); ++layer) {
    own.keys.push_back(cache.keys[layer].narrow(0, slice.first_text * key_heads(), slice.texts * key_heads()));
    own.values.push_back(cache.values[layer].narrow(0, slice.first_text * key_heads(), slice.texts * key_heads()));
  }
  return own;
}

void TransformerOnCpu::spread(const Cache& cache, int64_t length, const Beginnings& beginnings) const {
  // Keys stand in panels of positions, values in panels of a head's width with all positions in each.
  const int64_t positions = round_to_panels(length), panels = round_to_panels(head_width()) / isa_.columns;
  const auto known = [&](const at::Tensor& x, int64_t pieces, int64_t capacity_bytes) {
    return x.view({-1, pieces, capacity_bytes}).narrow(2, 0, capacity_bytes / cache.capacity * positions);
  };
  for (size_t layer = 0; layer < cache.keys.size(); ++layer) {
    beginnings.spread(known(cache.keys[layer], key_heads(), key_bytes(cache.capacity)));
    beginnings.spread(known(cache.values[layer], key_heads() * panels, value_bytes(cache.capacity) / panels));
  }
}

at::Tensor TransformerOnCpu::forward_of_different(const at::Tensor& tokens, const at::Tensor& positions) {
  const at::Tensor own = tokens.contiguous();
  const at::Tensor at_positions = positions.defined() ? positions.contiguous() : positions;
  if (own.size(0) > 1 && rows_are_equal(own) && (!at_positions.defined() || rows_are_equal(at_positions))) {
    const at::Tensor once =
        forward(own.narrow(0, 0, 1), at_positions.defined() ? at_positions.narrow(0, 0, 1) : at_positions, nullptr);
    return once.expand({own.size(0), once.size(1), once.size(2)});
  }
  return forward(own, at_positions, nullptr);
}

at::Tensor TransformerOnCpu::logits(const at::Tensor& tokens, const at::Tensor& positions) {
  const c10::InferenceMode inference;
  if (!description_.shifted) {
    return forward_of_different(tokens, positions);
  }
  const at::Tensor wanted =
      positions.defined() ? positions : at::arange(tokens.size(1), at::kLong).expand({tokens.size(0), -1});
  return forward_of_different(tokens, wanted.sub(1).clamp_min(0));
}

}  // namespace demask

// Nothing here is slower than a script would have it, nor faster: no operation is fused, written in place or shared by
// the samples where the script would not do so. Sources: Karpathy's nanoGPT (model.py), and section 5 of the
// specification for diffusion.
#include "bench/yardstick.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "checkpoint/archive.h"
#include "checkpoint/nanogpt_checkpoint.h"
#include "model/transformer.h"
#include "sampling/schedule.h"

namespace demask::bench {
namespace {

constexpr double norm_epsilon = 1e-5;
constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

// nanoGPT's GPT in evaluation, whose every operation is one call over the whole batch.
class PlainGpt {
 public:
  explicit PlainGpt(const NanoGptCheckpoint& checkpoint);

  // tokens [B, T] -> final hidden states [B, T, C]
  at::Tensor hidden(const at::Tensor& tokens) const;
  // [B, N, C] -> [B, N, V]
  at::Tensor head(const at::Tensor& states) const { return at::linear(states, head_weight_); }
  // [B, T] -> [B, T, V]
  at::Tensor logits(const at::Tensor& tokens) const { return head(hidden(tokens)); }

  at::Tensor rotate(const at::Tensor& heads) const;
  int64_t block_size() const { return args_.block_size; }
  at::TensorOptions integers() const { return token_embedding_.options().dtype(at::kLong); }
  at::TensorOptions numbers() const { return token_embedding_.options(); }

 private:
  // Weights [out, in] or [C]; biases undefined where the model has none.
  struct Parameters {
    at::Tensor weight;
    at::Tensor bias;
    at::Tensor linear(const at::Tensor& x) const { return at::linear(x, weight, bias); }
    at::Tensor norm(const at::Tensor& x) const { return at::layer_norm(x, weight.sizes(), weight, bias, norm_epsilon); }
  };
  struct Block {
    Parameters ln_1, c_attn, c_proj, ln_2, mlp_c_fc, mlp_c_proj;
  };

  // x [B, T, C], normed, -> [B, T, C]
  at::Tensor attention(const Block& block, const at::Tensor& x) const;

  ModelArgs args_;
  at::Tensor token_embedding_;     // [V, C]
  at::Tensor position_embedding_;  // [block, C], absolute positions only
  at::Tensor cosine_, sine_;       // [block, D / 2], rotary positions only
  at::Tensor later_;               // [block, block] bool, causal models only: whether a key stands after the query
  std::vector<Block> blocks_;
  Parameters ln_f_;
  at::Tensor head_weight_;  // [V, C]
};

PlainGpt::PlainGpt(const NanoGptCheckpoint& checkpoint) : args_(checkpoint.args) {
  const auto parameters = [&](const std::string& name) {
    return Parameters{checkpoint.parameters.at(name + ".weight"),
                      args_.bias ? checkpoint.parameters.at(name + ".bias") : at::Tensor()};
  };
  token_embedding_ = checkpoint.parameters.at("transformer.wte.weight");
  if (args_.rotary) {
    TransformerDescription positions;
    positions.block_size = args_.block_size;
    positions.head_width = args_.n_embd / args_.n_head;
    const auto [cosine, sine] = rotary_angles(positions);
    cosine_ = cosine.to(token_embedding_.options());
    sine_ = sine.to(token_embedding_.options());
  } else {
    position_embedding_ = checkpoint.parameters.at("transformer.wpe.weight");
  }
  if (!args_.bidirectional) {
    later_ = at::ones({args_.block_size, args_.block_size}, integers().dtype(at::kBool)).triu(1);
  }
  for (int64_t layer = 0; layer < args_.n_layer; ++layer) {
    const std::string prefix = fmt::format("transformer.h.{}.", layer);
    blocks_.push_back({parameters(prefix + "ln_1"), parameters(prefix + "attn.c_attn"),
                       parameters(prefix + "attn.c_proj"), parameters(prefix + "ln_2"), parameters(prefix + "mlp.c_fc"),
                       parameters(prefix + "mlp.c_proj")});
  }
  ln_f_ = parameters("transformer.ln_f");
  head_weight_ = args_.tied_head ? token_embedding_ : checkpoint.parameters.at("lm_head.weight");
}

// heads [B, H, T, D]
at::Tensor PlainGpt::rotate(const at::Tensor& heads) const {
  const at::Tensor cosine = cosine_.narrow(0, 0, heads.size(2)), sine = sine_.narrow(0, 0, heads.size(2));
  const std::vector<at::Tensor> halves = heads.chunk(2, -1);
  return at::cat({halves[0] * cosine - halves[1] * sine, halves[1] * cosine + halves[0] * sine}, -1);
}

at::Tensor PlainGpt::attention(const Block& block, const at::Tensor& x) const {
  const int64_t batch = x.size(0), length = x.size(1), width = args_.n_embd / args_.n_head;
  const std::vector<at::Tensor> projected = block.c_attn.linear(x).split(args_.n_embd, 2);
  const auto by_head = [&](const at::Tensor& of) {
    return of.view({batch, length, args_.n_head, width}).transpose(1, 2);  // [B, H, T, D]
  };
  at::Tensor queries = by_head(projected[0]), keys = by_head(projected[1]);
  const at::Tensor values = by_head(projected[2]);
  if (args_.rotary) {
    queries = rotate(queries);
    keys = rotate(keys);
  }
  at::Tensor scores = at::matmul(queries, keys.transpose(-2, -1)) * (1.0 / std::sqrt(static_cast<double>(width)));
  if (!args_.bidirectional) {
    scores = scores.masked_fill(later_.narrow(0, 0, length).narrow(1, 0, length), minus_infinity);
  }
  scores = at::softmax(scores, -1);
  const at::Tensor mixed = at::matmul(scores, values);
  return block.c_proj.linear(mixed.transpose(1, 2).contiguous().view({batch, length, args_.n_embd}));
}

at::Tensor PlainGpt::hidden(const at::Tensor& tokens) const {
  at::Tensor x = at::embedding(token_embedding_, tokens);
  if (!args_.rotary) {
    x = x + at::embedding(position_embedding_, at::arange(tokens.size(1), integers()));
  }
  for (const Block& block : blocks_) {
    x = x + attention(block, block.ln_1.norm(x));
    x = x + block.mlp_c_proj.linear(at::gelu(block.mlp_c_fc.linear(block.ln_2.norm(x))));
  }
  return ln_f_.norm(x);
}

// Of the context and its generator, what the script's loops ask for.
struct Task {
  int64_t samples = 0;
  int64_t length = 0;     // T
  int64_t generated = 0;  // the last of them
  at::Tensor allowed;     // [A] int64, ids that may be drawn
  at::Tensor forbidden;   // [V - A] int64, the others
};

Task make_task(const Context& context, const PreparedPrompt& prompt, const at::TensorOptions& integers) {
  const int64_t outputs = context.model->info().output_size;
  std::vector<int64_t> forbidden;
  for (int64_t id = 0; id < outputs; ++id) {
    if (std::find(context.allowed.begin(), context.allowed.end(), id) == context.allowed.end()) {
      forbidden.push_back(id);
    }
  }
  return {context.config.num_samples, prompt.length, prompt.generated, at::tensor(context.allowed, integers),
          at::tensor(forbidden, integers)};
}

// As good as the user's own for what the work costs. [samples, length - generated]
at::Tensor random_prompts(const Task& task) {
  return task.allowed.index(
      {at::randint(task.allowed.size(0), {task.samples, task.length - task.generated}, task.allowed.options())});
}

// scores [N, V] -> ids [N, 1]
at::Tensor draw(const at::Tensor& scores) {
  return at::multinomial(at::softmax(scores, -1), 1);
}

// The model's own probability of each of the tokens [1, T], untempered, given all of them -> [T]
at::Tensor confidence(const PlainGpt& model, const at::Tensor& tokens) {
  return at::softmax(model.logits(tokens), -1).gather(-1, tokens.unsqueeze(-1)).view({-1});
}

struct Drawn {
  at::Tensor tokens;                    // [B, T]
  std::vector<double> self_confidence;  // mean log p, one a sample; diffusion only
};

struct DiffusionSettings {
  MaskSchedule schedule;
  int64_t mask_token_id = 0;
  double temperature = 1;
  bool intelligent = false;
  double randomness = 0;
};

DiffusionSettings diffusion_settings(const Context& context) {
  const demask::DiffusionSettings& own = context.config.diffusion;
  return {own.schedule_type == ScheduleType::custom
              ? MaskSchedule::custom(*own.masking_ratios)
              : MaskSchedule::linear(own.diffusion_iterations, own.start_ratio, own.end_ratio),
          *context.mask_token_id, own.temperature, own.parameters.flag("intelligent_remasking"),
          own.parameters.number("randomness_strength")};
}

Drawn draw_by_diffusion(const PlainGpt& model, const Task& task, const DiffusionSettings& settings) {
  Drawn drawn;
  drawn.tokens = at::full({task.samples, task.length}, settings.mask_token_id, model.integers());
  const int64_t prompt = task.length - task.generated;
  drawn.tokens.narrow(1, 0, prompt).copy_(random_prompts(task));
  for (int64_t iteration = 0; iteration < settings.schedule.iterations(); ++iteration) {
    const at::Tensor logits = model.logits(drawn.tokens);
    for (int64_t sample = 0; sample < task.samples; ++sample) {
      const at::Tensor tokens = drawn.tokens[sample];
      const at::Tensor masked = tokens.eq(settings.mask_token_id).nonzero().squeeze(1);
      if (masked.size(0) > 0) {
        const at::Tensor scores = logits[sample].index_select(0, masked) / settings.temperature;
        scores.index_fill_(1, task.forbidden, minus_infinity);
        tokens.index_copy_(0, masked, draw(scores).squeeze(1));
      }
    }
    const int64_t count = settings.schedule.remask_count(iteration, task.generated, task.generated);
    if (count == 0) {
      continue;
    }
    for (int64_t sample = 0; sample < task.samples; ++sample) {
      at::Tensor scores = at::rand({task.generated}, model.numbers());
      if (settings.intelligent) {
        const at::Tensor sure = confidence(model, drawn.tokens.narrow(0, sample, 1)).narrow(0, prompt, task.generated);
        scores = (1 - settings.randomness) * (1 - sure) + settings.randomness * scores;
      }
      const at::Tensor chosen = std::get<1>(at::topk(scores, count));
      drawn.tokens[sample].index_fill_(0, chosen + prompt, settings.mask_token_id);
    }
  }
  for (int64_t sample = 0; sample < task.samples; ++sample) {
    const at::Tensor sure = confidence(model, drawn.tokens.narrow(0, sample, 1));
    drawn.self_confidence.push_back(sure.log().mean().item<double>());
  }
  return drawn;
}

struct StandardSettings {
  double temperature = 1;
  std::optional<int64_t> top_k;
};

Drawn draw_left_to_right(const PlainGpt& model, const Task& task, const StandardSettings& settings) {
  const at::Tensor prompts = random_prompts(task);
  std::vector<at::Tensor> texts;
  for (int64_t sample = 0; sample < task.samples; ++sample) {
    at::Tensor text = prompts.narrow(0, sample, 1);
    for (int64_t i = 0; i < task.generated; ++i) {
      const int64_t seen = std::min(text.size(1), model.block_size());
      const at::Tensor states = model.hidden(text.narrow(1, text.size(1) - seen, seen));
      const at::Tensor scores = model.head(states.narrow(1, seen - 1, 1)).squeeze(1) / settings.temperature;  // [1, V]
      if (settings.top_k) {
        const at::Tensor best = std::get<0>(at::topk(scores, std::min(*settings.top_k, scores.size(1))));
        scores.masked_fill_(scores < best.narrow(1, best.size(1) - 1, 1), minus_infinity);
      }
      text = at::cat({text, draw(scores)}, 1);
    }
    texts.push_back(text);
  }
  return {at::cat(texts), {}};
}

// Whether the loops above do all that the settings ask for.
bool does_all(const Context& context) {
  const Config& config = context.config;
  const bool diffusion = config.sampling_method == SamplingMethod::diffusion;
  const double temperature = diffusion ? config.diffusion.temperature : config.std_temperature;
  return temperature > 0 && config.top_p == 1 && config.repetition_penalty == 1 &&
         !(diffusion && config.diffusion.remasking_checkpoint_name) && !Archive(context.checkpoint).is_torchscript();
}

}  // namespace

std::function<void()> make_plain_draw(const Context& context, const PreparedPrompt& prompt) {
  if (!does_all(context)) {
    return {};
  }
  const c10::InferenceMode inference;
  const PlainGpt model(read_nanogpt_checkpoint(
      context.checkpoint, [&](const at::Tensor& parameter) { return parameter.to(context.device, at::kFloat); }));
  const Task task = make_task(context, prompt, model.integers());
  if (context.config.sampling_method == SamplingMethod::diffusion) {
    return [model, task, settings = diffusion_settings(context)] {
      const c10::InferenceMode while_drawing;
      draw_by_diffusion(model, task, settings);
    };
  }
  const StandardSettings settings{context.config.std_temperature, context.config.top_k};
  return [model, task, settings] {
    const c10::InferenceMode while_drawing;
    draw_left_to_right(model, task, settings);
  };
}

}  // namespace demask::bench

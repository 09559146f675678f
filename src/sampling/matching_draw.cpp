#include "sampling/matching_draw.h"

#include <ATen/ATen.h>

#include <optional>
#include <utility>

#include "kernels/threads.h"

namespace demask {
namespace {

DrawFilters filters_of_row(const DrawFilters& filters, int64_t row) {
  DrawFilters own = filters;
  if (filters.temperatures.defined()) {
    own.temperatures = filters.temperatures.narrow(0, row, 1);
  }
  return own;
}

// What is to be completed of one text.
struct Task {
  int64_t row = 0;  // of the batch
  const Template* text = nullptr;
  PartialText partial;
  std::vector<int64_t> positions;    // that are masked
  std::vector<int64_t> logits_rows;  // where their logits stand
  std::vector<float> uniforms;       // theirs
};

std::vector<Task> tasks_of(const MatchingStep& step) {
  const at::Tensor tokens = step.tokens.cpu().contiguous(), masked = step.masked.cpu().contiguous(),
                   uniforms = step.uniforms.cpu().contiguous();
  const int64_t length = tokens.size(1);
  std::vector<Task> tasks;
  for (int64_t b = 0; b < tokens.size(0); ++b) {
    const Template* text = step.texts[static_cast<size_t>(b)];
    if (!text->pattern) {
      continue;
    }
    const bool* is_masked = masked.data_ptr<bool>() + b * length;
    Task task{b, text, partial_text(*text, tokens.data_ptr<int64_t>() + b * length, is_masked), {}, {}, {}};
    for (int64_t position = 0; position < length; ++position) {
      if (is_masked[position]) {
        task.logits_rows.push_back(step.positions.defined() ? static_cast<int64_t>(task.positions.size()) : position);
        task.positions.push_back(position);
        task.uniforms.push_back(uniforms.data_ptr<float>()[b * length + position]);
      }
    }
    tasks.push_back(std::move(task));
  }
  return tasks;
}

// logits [n, V] float32 on the host.
std::optional<std::vector<int64_t>> complete(const Task& task, const at::Tensor& logits, bool greedy) {
  MaskedLogits rows{{}, logits.size(1)};
  for (const int64_t row : task.logits_rows) {
    rows.rows.push_back(logits.data_ptr<float>() + row * logits.stride(0));
  }
  const TokenAutomaton& pattern = *task.text->pattern;
  return greedy ? likeliest_completion(pattern, task.partial, rows)
                : draw_completion(pattern, task.partial, rows, task.uniforms.data());
}

// Of ids [n] by their rows of logits, [n].
at::Tensor probabilities_of(const at::Tensor& ids, const at::Tensor& logits, const std::vector<int64_t>& rows) {
  return at::softmax(logits.index_select(0, at::tensor(rows, at::kLong)), -1).gather(1, ids.unsqueeze(1)).squeeze(1);
}

}  // namespace

PartialText partial_text(const Template& text, const int64_t* tokens, const bool* masked) {
  PartialText partial{{}, {tokens, tokens + text.length()}};
  for (size_t position = 0; position < text.tokens.size(); ++position) {
    partial.slots.push_back(masked[position]          ? PatternSlot::masked
                            : position < text.unshown ? PatternSlot::unshown
                            : text.fixed[position]    ? PatternSlot::given
                                                      : PatternSlot::drawn);
  }
  return partial;
}

PartialText partial_text(const Template& text) {
  const auto masked = std::make_unique<bool[]>(text.fixed.size());
  for (size_t position = 0; position < text.fixed.size(); ++position) {
    masked[position] = !text.fixed[position];
  }
  return partial_text(text, text.tokens.data(), masked.get());
}

void draw_matching(const MatchingStep& step, const at::Tensor& logits, const at::Tensor& forbidden,
                   const DrawFilters& filters, Proposal& proposal) {
  const bool greedy = is_greedy(filters);
  const at::Tensor drawable = drawable_logits(logits, forbidden, filters).cpu().contiguous();
  const std::vector<Task> tasks = tasks_of(step);
  std::vector<std::optional<std::vector<int64_t>>> completions(tasks.size());
  std::vector<at::Tensor> own;
  own.reserve(tasks.size());
  for (const Task& task : tasks) {
    own.push_back(drawable.select(0, task.row));
  }
  kernels::shared_pool().run(static_cast<int64_t>(tasks.size()), [&](int64_t first, int64_t last, int64_t) {
    for (auto i = static_cast<size_t>(first); i < static_cast<size_t>(last); ++i) {
      completions[i] = complete(tasks[i], own[i], greedy);
    }
  });

  const at::Tensor drawn = step.drawn.cpu().contiguous();
  at::Tensor ids = proposal.tokens.cpu().clone(), probabilities = proposal.probabilities.cpu().clone();
  for (size_t i = 0; i < tasks.size(); ++i) {
    const Task& task = tasks[i];
    at::Tensor broken;  // not a number where a logit is none
    if (!completions[i]) {
      broken = at::softmax(own[i], -1).sum();
      own[i] = unfiltered_logits(logits.narrow(0, task.row, 1), forbidden, filters_of_row(filters, task.row));
      own[i] = own[i].select(0, 0).cpu().contiguous();
      completions[i] = complete(task, own[i], greedy);
      TORCH_CHECK(completions[i], "a text has no completion that matches its pattern");
    }
    const at::Tensor places = at::tensor(task.positions, at::kLong), chosen = at::tensor(*completions[i], at::kLong);
    at::Tensor probability = probabilities_of(chosen, own[i], task.logits_rows);
    probability = broken.defined() ? probability + 0 * broken : probability;
    const at::Tensor wanted = drawn.select(0, task.row).index_select(0, places);
    at::Tensor own_ids = ids.select(0, task.row), own_probabilities = probabilities.select(0, task.row);
    own_ids.index_put_({places}, at::where(wanted, chosen, own_ids.index_select(0, places)));
    own_probabilities.index_put_({places}, at::where(wanted, probability, own_probabilities.index_select(0, places)));
  }
  proposal.tokens = ids.to(proposal.tokens.device());
  proposal.probabilities = probabilities.to(proposal.probabilities.device());
  watch(proposal.probabilities, proposal.broken);
}

kernels::PatternDraw pattern_draw(const at::Tensor& logits, const at::Tensor& forbidden, const DrawFilters& filters,
                                  const at::Tensor& tokens, const at::Tensor& masked, const at::Tensor& drawn,
                                  const at::Tensor& uniforms, const Proposal& proposal) {
  kernels::PatternDraw draw{logits,         {},    forbidden, filters,         tokens,
                            masked,         drawn, uniforms,  proposal.tokens, proposal.probabilities,
                            proposal.broken};
  draw.filters.temperature = usable_temperature(filters.temperature);
  if (!is_greedy(filters) && (filters.top_p < 1 || filters.top_k)) {
    draw.filtered = drawable_logits(logits, forbidden, filters).contiguous();
  }
  return draw;
}

}  // namespace demask

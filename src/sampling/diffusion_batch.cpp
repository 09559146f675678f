#include "sampling/diffusion_batch.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <array>

namespace demask {
namespace {

// [rows, steps, columns]
template <typename T, typename Columns>
void tabulate(const std::vector<Plan>& plans, int64_t steps, T* table, Columns columns_of) {
  for (const Plan& plan : plans) {
    for (int64_t number = 0; number < steps; ++number) {
      const bool ended = number >= static_cast<int64_t>(plan.size());
      PlannedStep step = plan.empty() ? PlannedStep{} : plan[ended ? plan.size() - 1 : static_cast<size_t>(number)];
      step.remasked = ended ? 0 : step.remasked;
      const auto row = columns_of(step);
      table = std::copy(row.begin(), row.end(), table);
    }
  }
}

// A block reaches from its first free position to its last, and what is given between them is computed with it.
std::vector<Window> windows_of(const Template& text, const std::vector<int64_t>& blocks, CacheKind cache) {
  std::vector<int64_t> free;
  for (int64_t position = 0; position < text.length(); ++position) {
    if (!text.fixed[static_cast<size_t>(position)]) {
      free.push_back(position);
    }
  }
  std::vector<Window> windows;
  auto first = free.begin();
  for (const int64_t size : blocks) {
    const int64_t last = cache == CacheKind::prefix ? text.length() - 1 : *(first + size - 1);
    windows.push_back({*first, last - *first + 1});
    first += size;
  }
  return windows;
}

}  // namespace

DiffusionBatch::DiffusionBatch(const std::vector<DiffusionTask>& all, const DiffusionOptions& options,
                               bool counts_known)
    : tasks(all) {
  size = static_cast<int64_t>(tasks.size());
  length = tasks.front().text->length();
  const int64_t first_free = tasks.front().text->free_positions();
  bool equally_free = true;
  for (const DiffusionTask& task : tasks) {
    const int64_t own_free = task.text == tasks.front().text ? first_free : task.text->free_positions();
    TORCH_CHECK_VALUE(task.text->length() == length && (own_free == first_free || !options.block_length),
                      "texts of one batch must be of one length, and with blocks have as many free positions");
    equally_free = equally_free && own_free == first_free;
    free += own_free;
    if (task.traced) {
      traced.push_back(static_cast<int64_t>(streams.size()));
    }
    streams.push_back(task.stream);
    if (plans.empty() || options.plan_per_sample || !equally_free) {
      while (plans.size() + 1 < streams.size()) {
        plans.push_back(plans.front());  // the texts before this one were alike
      }
      plans.push_back(options.plan(task.stream, own_free));
      steps = std::max(steps, static_cast<int64_t>(plans.back().size()));
    }
  }
  blocks = block_sizes(first_free, options.block_length);
  if (options.cache != CacheKind::none) {
    windows = windows_of(*tasks.front().text, blocks, options.cache);
  }
  for (int64_t number = 0; number < steps; ++number) {
    const bool last = number + 1 == steps;
    const bool fills = last || (counts_known && masked_after(number) == 0);
    const bool judged = judges(number, counts_known);
    kinds.push_back(fills ? StepKind::filling : judged ? StepKind::judging : StepKind::masking);
  }
}

const PlannedStep& DiffusionBatch::at(const Plan& plan, int64_t number) const {
  return plan[std::min(static_cast<size_t>(number), plan.size() - 1)];
}

bool DiffusionBatch::fills_same_positions() const {
  const Template& first = *tasks.front().text;
  const bool same_places = std::all_of(tasks.begin(), tasks.end(), [&](const DiffusionTask& task) {
    return task.text == &first || task.text->fixed == first.fixed;
  });
  return same_places && std::all_of(plans.begin(), plans.end(), [this](const Plan& plan) {
           for (int64_t number = 0; number < steps; ++number) {
             if (at(plan, number).block != block_of(number)) {
               return false;
             }
           }
           return true;
         });
}

int64_t DiffusionBatch::first_block_of(int64_t masked) const {
  auto block = static_cast<int64_t>(blocks.size()) - 1;
  for (; block > 0 && masked > blocks[static_cast<size_t>(block)]; --block) {
    masked -= blocks[static_cast<size_t>(block)];
  }
  return block;
}

int64_t DiffusionBatch::steps_like(int64_t number) const {
  const auto work = [this](int64_t step) {
    const bool is_whole = windows.empty() || step == 0 || block_of(step) != block_of(step - 1);
    return std::pair(kinds[static_cast<size_t>(step)],
                     is_whole ? 0 : windows[static_cast<size_t>(block_of(step))].count);
  };
  int64_t like = 0;
  for (int64_t later = number + 1; later < steps; ++later) {
    like += work(later) == work(number) ? 1 : 0;
  }
  return like;
}

int64_t DiffusionBatch::drawn_each(int64_t number) const {
  const PlannedStep& step = at(plans[0], number);
  const bool begins = number == 0 || at(plans[0], number - 1).block != step.block;
  return begins ? blocks[static_cast<size_t>(step.block)] : at(plans[0], number - 1).masked;
}

int64_t DiffusionBatch::masked_after(const Plan& plan, int64_t number) const {
  int64_t total = at(plan, number).masked;
  for (size_t later = static_cast<size_t>(at(plan, number).block) + 1; later < blocks.size(); ++later) {
    total += blocks[later];
  }
  return total;
}

int64_t DiffusionBatch::masked_after(int64_t number) const {
  if (number < 0) {
    return free;
  }
  int64_t total = 0;
  for (const Plan& plan : plans) {
    total += masked_after(plan, number);
  }
  return plans.size() == 1 ? total * size : total;
}

BatchView DiffusionBatch::view(bool open_ended) const {
  BatchView view{{}, open_ended ? 0 : steps, free};
  view.samples.reserve(tasks.size());
  for (const DiffusionTask& task : tasks) {
    view.samples.push_back({task.identity, 0, length});
  }
  return view;
}

void DiffusionBatch::write_counts(int64_t steps_of_table, int64_t* counts) const {
  tabulate(plans, steps_of_table, counts, [](const PlannedStep& step) {
    return std::array<int64_t, count_columns>{step.block, step.masked, step.remasked};
  });
}

void DiffusionBatch::write_numbers(int64_t steps_of_table, float* numbers) const {
  tabulate(plans, steps_of_table, numbers, [](const PlannedStep& step) {
    const std::array<double, number_columns> row = {step.start,         step.progress,   step.reveal_chance,
                                                    step.remask_chance, step.draw_share, step.noise_scale,
                                                    step.noise_left};
    std::array<float, number_columns> rounded{};
    std::transform(row.begin(), row.end(), rounded.begin(), [](double value) { return static_cast<float>(value); });
    return rounded;
  });
}

// Whether a step of some text is to be judged, and would mask something again.
bool DiffusionBatch::judges(int64_t number, bool counts_known) const {
  return std::any_of(plans.begin(), plans.end(), [&](const Plan& plan) {
    return at(plan, number).judged && (!counts_known || at(plan, number).masked > 0);
  });
}

}  // namespace demask

#include "app/run.h"

#include <algorithm>
#include <future>
#include <optional>
#include <utility>

#include "app/doctor.h"
#include "app/ending.h"
#include "app/exporting.h"
#include "app/interrupt.h"
#include "app/observers.h"
#include "app/run_header.h"
#include "app/run_outputs.h"
#include "app/shard_settings.h"
#include "app/stream_run.h"
#include "app/work_list.h"
#include "app/written_files.h"
#include "checkpoint/checkpoint_files.h"
#include "core/background.h"
#include "core/notice.h"
#include "engine/collapse_watch.h"
#include "engine/engine.h"
#include "engine/installed.h"
#include "model/device.h"
#include "output/output_file.h"
#include "sampling/strategies/strategy.h"
#include "sampling/strategy_plan.h"

namespace demask {
namespace {

std::vector<std::string> files_read_by(const CommandLine& command, const Context& context) {
  const Config& config = context.config;
  std::vector<std::string> files = files_read(context);
  files.insert(files.end(), command.config_files.begin(), command.config_files.end());
  for (const std::optional<std::string>& path : {config.prompts, config.score, config.compare}) {
    if (path) {
      files.push_back(*path);
    }
  }
  return files;
}

// Begins to hash the checkpoint, where an output tells the hash, while the model is loaded. Loading tells where the
// file cannot be read.
std::shared_future<std::string> start_hashing_checkpoint(const Config& config) {
  if ((config.output && is_json_lines(*config.output)) || config.trace || config.report) {
    return in_background([checkpoint = checkpoint_path(config)] { return checkpoint_digest(checkpoint); });
  }
  return {};
}

// About how many forwards a run asks its model for, where it is one batch of short texts and no more.
std::optional<int64_t> planned_forwards(const Config& config) {
  constexpr int64_t most_positions = 2048, judging = 1;  // of what is drawn, once it is whole
  const bool diffusion = config.sampling_method == SamplingMethod::diffusion;
  const int64_t length = diffusion ? config.sequence_length : config.max_new_tokens;
  const bool one_batch = !config.prompts && !config.score && config.best_of == 1 && !config.batch_size &&
                         length <= most_positions &&
                         config.num_samples <= most_positions / std::max<int64_t>(length, 1);
  if (!one_batch) {
    return std::nullopt;
  }
  if (!diffusion) {
    return config.max_new_tokens;
  }
  if (config.diffusion.forwards) {
    return *config.diffusion.forwards + judging;
  }
  // A strategy that decides how much it reveals may take a step for each position.
  return config.diffusion.strategy->pacing == Pacing::decides ? length
                                                              : forwards_of_iterations(config.diffusion) + judging;
}

void draw_and_write(const Engine& engine, const Work& work, RunOutputs& outputs) {
  const Config& config = engine.context().config;
  const Remaining& remaining = outputs.remaining();
  const int64_t left = remaining.left();
  Observers observers(engine, left * config.best_of);
  DrawHooks hooks;
  hooks.observer = observers.pointer();
  hooks.is_done = [&remaining](int64_t index) { return remaining.is_done(index); };
  hooks.is_traced = [&outputs](int64_t index) { return outputs.is_traced(index); };
  hooks.stops = [] { return stop_signal() != 0; };
  CollapseWatch collapse_watch(engine.context());
  hooks.on_batch = [&](const std::vector<SampleTask>& tasks, std::vector<DrawnSample> samples, int64_t frontier) {
    for (size_t i = 0; i < samples.size(); ++i) {
      collapse_watch.look_at(*tasks[i].prompt, samples[i].tokens);
    }
    outputs.take(tasks, std::move(samples), frontier);
  };
  let_batches_finish();
  const DrawTotals drawn = engine.draw(work, remaining.next, remaining.range.end(), left, hooks);
  observers.close();
  if (drawn.gave_up) {
    notice("the batch in flight would have taken longer and was given up.");
  }
  if (const std::optional<std::string> collapse = collapse_watch.notice()) {
    notice("{}", *collapse);
  }
  if (drawn.samples < left) {
    outputs.leave_unfinished();
    end_interrupted(config, drawn.samples, left);
  }
  outputs.finish({drawn.elapsed_s, drawn.samples, drawn.tokens, engine.forwards(), engine.computed_share()});
  if (stop_signal() != 0) {
    end_interrupted(config, drawn.samples, left);
  }
}

void sample(CommandLine& command, ModelAhead* ahead) {
  Config& config = command.parsed.config;
  const Shard shard = settle_shard(config);
  std::optional<OpenList> open_list = open_as_it_comes(list_path(config));
  std::optional<PromptList> list;
  if (open_list) {
    check_needs_no_whole_list(config, open_list->name);
  } else if (config.prompts) {
    list = read_work_list(*config.prompts, config.on_error == OnError::skip);
  } else if (config.score) {
    list = read_score_list(*config.score, config.on_error == OnError::skip);
  }
  const std::shared_future<std::string> checkpoint_sha256 = start_hashing_checkpoint(config);
  const Engine engine(command.parsed, stop_is_overdue, {}, {planned_forwards(config), ahead});
  check_overwrites_nothing(config, files_read_by(command, engine.context()));
  if (open_list) {
    draw_as_it_comes(engine, std::move(*open_list), checkpoint_sha256);
    end_process_if_slow_to_end(engine.context().device);
    return;
  }
  const Work work = list ? engine.work_of(std::move(*list)) : engine.own_work();
  RunOutputs outputs(engine, work, ListExtent::whole, shard, checkpoint_sha256);
  draw_and_write(engine, work, outputs);
  report_bad_lines(work, list_path(config));
  end_process_if_slow_to_end(engine.context().device);
}

}  // namespace

void run(CommandLine& command, ModelAhead* ahead) {
  const Config& config = command.parsed.config;
  if (command.action == CommandLine::Action::doctor) {
    write_to_stdout(doctor_text());
    return;
  }
  install_signal_handlers();
  use_installed_models(command.parsed);
  if (config.export_folder) {
    export_checkpoint(command.parsed);
    return;
  }
  sample(command, ahead);
}

}  // namespace demask

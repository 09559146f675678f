#include "demask/app/run.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>

#include "demask/app/batching.h"
#include "demask/app/interrupt.h"
#include "demask/app/method.h"
#include "demask/app/session.h"
#include "demask/app/settings.h"
#include "demask/config/command_line.h"
#include "demask/model/device.h"
#include "demask/output/inspection.h"
#include "demask/output/progress.h"
#include "demask/output/sample_writer.h"

namespace demask {
namespace {

class Observers : public Observer {
 public:
  void add(std::unique_ptr<Observer> observer) { observers_.push_back(std::move(observer)); }
  Observer* pointer() { return observers_.empty() ? nullptr : this; }

  void on_batch(int64_t first_index, int64_t batch, int64_t steps, int64_t tokens_per_sample) override {
    for (const auto& observer : observers_) {
      observer->on_batch(first_index, batch, steps, tokens_per_sample);
    }
  }
  void on_step(const StepView& view) override {
    for (const auto& observer : observers_) {
      observer->on_step(view);
    }
  }
  bool reads_tensors() const override {
    return std::any_of(observers_.begin(), observers_.end(),
                       [](const auto& observer) { return observer->reads_tensors(); });
  }
  void on_batch_done() override {
    for (const auto& observer : observers_) {
      observer->on_batch_done();
    }
  }

 private:
  std::vector<std::unique_ptr<Observer>> observers_;
};

// LibTorch may start with one thread; use the cores that this process may run on, unless the user said how many.
void use_all_cores() {
  cpu_set_t cores;
  if (std::getenv("OMP_NUM_THREADS") == nullptr && sched_getaffinity(0, sizeof cores, &cores) == 0) {
    at::set_num_threads(CPU_COUNT(&cores));
  }
}

// As users spell it.
const char* to_name(at::ScalarType dtype) {
  return dtype == at::kHalf ? "float16" : dtype == at::kBFloat16 ? "bfloat16" : "float32";
}

RunDescription describe_run(const Session& session, const Method& method) {
  const Config& config = session.config;
  RunDescription run;
  run.method = config.sampling_method;
  run.checkpoint = session.checkpoint;
  run.num_samples = config.num_samples;
  run.first_sample = config.first_sample;
  run.seed = config.seed;
  run.mask_token_id = session.mask_token_id;
  run.header = {{fmt::format("demask {}", DEMASK_VERSION), ""},
                {"method", config.sampling_method},
                {"checkpoint", fmt::format("{} ({})", session.checkpoint, session.model->info().description)},
                {"device", fmt::format("{}, {}", session.device.str(), to_name(session.model->info().dtype))},
                {"seed", std::to_string(config.seed)}};
  run.header.insert(run.header.end(), method.header.begin(), method.header.end());
  run.settings = settings_json(config);
  return run;
}

std::unique_ptr<Observers> make_observers(const Session& session) {
  const Config& config = session.config;
  auto observers = std::make_unique<Observers>();
  if (config.show_progress) {
    ProgressOptions options;
    // A line that redraws itself would run into the views that are printed below it.
    options.terminal = isatty(STDERR_FILENO) != 0 && !config.use_verbose_logging && !config.log_debug;
    options.diffusion = config.sampling_method == "diffusion";
    options.total_samples = config.num_samples;
    observers->add(std::make_unique<Progress>(stderr, options));
  }
  if (config.use_verbose_logging || config.log_debug) {
    InspectionOptions options;
    options.verbose = config.use_verbose_logging;
    options.debug = config.log_debug;
    options.mask_token_id = session.mask_token_id;
    observers->add(std::make_unique<Inspection>(stderr, *session.vocabulary, options));
  }
  return observers;
}

void sample_and_write(const Session& session, const Method& method) {
  const Config& config = session.config;
  const RunDescription description = describe_run(session, method);
  std::vector<std::unique_ptr<SampleWriter>> writers;
  writers.push_back(make_text_writer(STDOUT_FILENO, "standard output", description, *session.vocabulary));
  if (config.output) {
    writers.push_back(make_file_writer(*config.output, description, *session.vocabulary));
  }
  for (const auto& writer : writers) {
    writer->begin();
  }

  const std::unique_ptr<Observers> observers = make_observers(session);
  const auto started = std::chrono::steady_clock::now();
  std::chrono::duration<double> writing{};
  const BatchPlan plan{config.first_sample, config.num_samples,
                       choose_batch_size(config.batch_size, config.num_samples, method.length,
                                         session.model->info().output_size, session.device)};
  for_each_batch(plan, session.device, [&](int64_t first, int64_t count) {
    const std::vector<Sample> samples = method.draw(first, count, observers->pointer());
    const auto drawn = std::chrono::steady_clock::now();
    for (const Sample& sample : samples) {
      for (const auto& writer : writers) {
        writer->write(sample);
      }
    }
    writing += std::chrono::steady_clock::now() - drawn;
  });

  RunTotals totals;
  totals.elapsed_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - started - writing).count();
  totals.samples = config.num_samples;
  totals.tokens = config.num_samples * method.generated;
  totals.forwards = method.forwards();
  for (const auto& writer : writers) {
    writer->finish(totals);
  }
}

}  // namespace

void run(const std::vector<std::string>& arguments) {
  const CommandLine command = parse_command_line(arguments);
  switch (command.action) {
    case CommandLine::Action::help:
      fmt::print("{}", help_text());
      return;
    case CommandLine::Action::version:
      fmt::print("demask {} ({})\n", DEMASK_VERSION, libtorch_description());
      return;
    case CommandLine::Action::print_config:
      fmt::print("{}", print_config(command.parsed.config));
      return;
    case CommandLine::Action::run:
      break;
  }
  install_signal_handlers();
  use_all_cores();
  const Session session = open_session(command.parsed);
  sample_and_write(session, make_method(session, command.parsed));
  end_process_if_slow_to_end(session.device);
}

}  // namespace demask

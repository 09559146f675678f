#include "app/front.h"

#include <future>
#include <thread>

#include "app/cuda_start.h"
#include "app/header_settings.h"
#include "app/inspect/inspect.h"
#include "app/interrupt.h"
#include "app/read_ahead.h"
#include "app/start_engine.h"
#include "app/version.h"
#include "config/command_line.h"
#include "config/generate.h"
#include "config/printing.h"
#include "engine/model_ahead.h"
#include "output/merge_run_files.h"
#include "output/output_file.h"

namespace demask {
namespace {

// Of weights that are looked at while LibTorch is loaded. Where there is one processor, the look would be in the way.
uint64_t weights_to_look_at() {
  constexpr uint64_t most_bytes = uint64_t{1} << 30;
  return std::thread::hardware_concurrency() < 2 ? 0 : most_bytes;
}

int draw(const CommandLine& command) {
  const Config& config = command.parsed.config;
  settle_environment();
  read_ahead(config);
  if (const std::future<void> ready = start_cuda(config); ready.valid()) {
    ready.wait();
  }
  // Exporting needs no vocabulary, and starting CUDA has a thread already, which another one would hold up.
  if (config.export_folder || may_use_cuda(config)) {
    return start_engine(command);
  }
  ModelAhead ahead(config, weights_to_look_at());
  return start_engine(command, &ahead);
}

}  // namespace

int answer(const std::vector<std::string>& arguments) {
  CommandLine command = parse_command_line(arguments);
  const Config& config = command.parsed.config;
  switch (command.action) {
    case CommandLine::Action::help:
      write_to_stdout(help_text());
      return 0;
    case CommandLine::Action::version:
      write_to_stdout(version_text());
      return 0;
    case CommandLine::Action::print_config:
      write_to_stdout(print_config(config));
      return 0;
    case CommandLine::Action::generate:
      write_to_stdout(generate(command.generated));
      return 0;
    case CommandLine::Action::doctor:
      settle_environment();
      return start_engine(command);
    case CommandLine::Action::run:
      break;
  }
  if (config.merge) {
    install_signal_handlers();
    merge_run_files(*config.merge, *config.output, places_in_header());
    return 0;
  }
  if (config.inspect) {
    install_signal_handlers();
    print_inspection(config);
    return 0;
  }
  return draw(command);
}

}  // namespace demask

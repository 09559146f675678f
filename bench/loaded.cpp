#include "bench/loaded.h"

#include <chrono>

#include "config/command_line.h"
#include "engine/prompt_tokens.h"
#include "model/device.h"

namespace demask::bench {
namespace {

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

Loaded::Loaded(const std::vector<std::string>& arguments) : Loaded(arguments, now_s()) {}

Loaded::Loaded(const std::vector<std::string>& arguments, double start_s)
    : engine(parse_command_line(arguments).parsed),
      prompt(engine.generator().prepare(own_prompt(context().config), /*quiet=*/false)),
      seconds(0) {
  synchronize(context().device);
  seconds = now_s() - start_s;
}

std::vector<DrawnSample> Loaded::draw(int64_t skipped, int64_t count) const {
  const Config& config = context().config;
  const Stream first{static_cast<uint64_t>(config.seed), config.first_sample + skipped};
  std::vector<SampleTask> tasks = consecutive(first, count, prompt);
  tasks.front().traced = config.trace.has_value();
  return engine.generator().draw(tasks, nullptr);
}

}  // namespace demask::bench

#include "bench/loaded.h"

#include "bench/timing.h"
#include "config/command_line.h"
#include "model/device.h"

namespace demask::bench {

Loaded::Loaded(const std::vector<std::string>& arguments) : parsed(parse_command_line(arguments).parsed), seconds(0) {
  const Clock::time_point start = Clock::now();
  session = open_session(parsed);
  method = make_method(session, parsed);
  prompt = method.prepare(own_prompt(session.config), /*quiet=*/false);
  synchronize(session.device);
  seconds = seconds_since(start);
}

std::vector<Sample> Loaded::draw(int64_t skipped, int64_t count) const {
  const Config& config = session.config;
  const Stream first{static_cast<uint64_t>(config.seed), config.first_sample + skipped};
  std::vector<Request> requests = consecutive(first, count, prompt);
  requests.front().traced = config.trace.has_value();
  return method.draw(requests, nullptr);
}

}  // namespace demask::bench

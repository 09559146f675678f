#include "bench/loaded.h"

#include "bench/timing.h"
#include "demask/config/command_line.h"
#include "demask/model/device.h"

namespace demask::bench {

Loaded::Loaded(const std::vector<std::string>& arguments) : parsed(parse_command_line(arguments).parsed), seconds(0) {
  const Clock::time_point start = Clock::now();
  session = open_session(parsed);
  method = make_method(session, parsed);
  synchronize(session.device);
  seconds = seconds_since(start);
}

}  // namespace demask::bench

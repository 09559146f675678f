#include "bench/environment.h"

#include <fmt/format.h>

#include <ctime>
#include <fstream>

#include "kernels/threads.h"
#include "model/device.h"

namespace demask::bench {
namespace {

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (const size_t colon = line.find(": "); colon != std::string::npos && line.compare(0, 10, "model name") == 0) {
      return line.substr(colon + 2);
    }
  }
  return "unknown";
}

std::string date_utc() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                     parts.tm_hour, parts.tm_min, parts.tm_sec);
}

}  // namespace

nlohmann::ordered_json describe_environment(const Options& options) {
  return {{"demask", DEMASK_VERSION},           {"date", date_utc()},
          {"hardware", options.hardware},       {"processor", processor_name()},
          {"threads", kernels::thread_count()}, {"libtorch", libtorch_description()},
          {"device", options.device.str()},     {"dtype", to_name(options.dtype)}};
}

std::string environment_line(const Options& options) {
  return fmt::format("demask {}, {}, {}, {} threads, {} in {}", DEMASK_VERSION, libtorch_description(),
                     processor_name(), kernels::thread_count(), options.device.str(), to_name(options.dtype));
}

}  // namespace demask::bench

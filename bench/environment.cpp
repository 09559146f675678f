#include "bench/environment.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <sched.h>

#include <cstdlib>
#include <ctime>
#include <fstream>

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

void use_all_cores() {
  cpu_set_t cores;
  if (std::getenv("OMP_NUM_THREADS") == nullptr && sched_getaffinity(0, sizeof cores, &cores) == 0) {
    at::set_num_threads(CPU_COUNT(&cores));
  }
}

nlohmann::ordered_json describe_environment(const Options& options) {
  return {{"demask", DEMASK_VERSION},         {"date", date_utc()},
          {"hardware", options.hardware},     {"processor", processor_name()},
          {"threads", at::get_num_threads()}, {"libtorch", libtorch_description()},
          {"device", options.device.str()},   {"dtype", to_name(options.dtype)}};
}

std::string environment_line(const Options& options) {
  return fmt::format("demask {}, {}, {}, {} threads, {} in {}", DEMASK_VERSION, libtorch_description(),
                     processor_name(), at::get_num_threads(), options.device.str(), to_name(options.dtype));
}

}  // namespace demask::bench

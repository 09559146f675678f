#include "app/shard_settings.h"

#include <fmt/format.h>

#include <optional>
#include <string>

#include "core/error.h"
#include "core/notice.h"
#include "model/device.h"

namespace demask {
namespace {

// Puts the shard's number into the names of what is written.
void settle_names(const Shard& shard, Config& config) {
  struct Written {
    const char* key;
    std::optional<std::string>& path;
    const char* example;
  };
  for (const Written& file :
       {Written{"output", config.output, "samples-{shard}.jsonl"}, Written{"trace", config.trace, "trace-{shard}.json"},
        Written{"report", config.report, "report-{shard}.html"}}) {
    if (!file.path || *file.path == "-") {
      continue;
    }
    if (shard.count > 1 && !has_shard_field(*file.path)) {
      fail(ExitCode::bad_usage, "{}='{}' would be written by all {} shards: put {{shard}} into its name, such as '{}'.",
           file.key, *file.path, shard.count, file.example);
    }
    file.path = expand_shard_name(*file.path, shard);
  }
}

// Where the launcher numbers the processes of a machine, each takes the device of its number.
void settle_device(const Shard& shard, Config& config) {
  const int64_t devices = shard.local_rank ? cuda_device_count() : 0;
  if (devices > 0 && (config.device == "auto" || config.device == "cuda")) {
    // A launcher may show each process one device only, its own.
    config.device = fmt::format("cuda:{}", *shard.local_rank % devices);
    if (*shard.local_rank >= devices && devices > 1) {
      notice("local rank {} shares {}: there are {} devices.", *shard.local_rank, config.device, devices);
    }
  }
}

}  // namespace

Shard settle_shard(Config& config) {
  const Shard shard = config.shard ? parse_shard(*config.shard, process_environment()) : Shard{};
  settle_names(shard, config);
  if (config.seed == -1 && (shard.count > 1 || config.resume)) {
    fail(ExitCode::bad_usage,
         "seed=-1 draws another seed in every {}, so that they would not belong together: give a seed.",
         config.resume ? "run" : "shard");
  }
  if (!shard.source.empty() && config.shard == "auto") {
    notice("shard {}/{}, by {}.", shard.index, shard.count, shard.source);
  }
  settle_device(shard, config);
  return shard;
}

}  // namespace demask

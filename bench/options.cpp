#include "bench/options.h"

#include "config/fields.h"
#include "core/error.h"
#include "engine/resolve.h"
#include "model/device.h"

namespace demask::bench {

void resolve(Options& options) {
  options.device = resolve_devices(options.device_name).front();
  const std::optional<Precision> precision = value_named<Precision>(options.dtype_name);
  if (!precision) {
    fail(ExitCode::bad_usage, "--dtype={}: must be {}.", options.dtype_name, allowed_values(*find_field("dtype")));
  }
  options.dtype = resolve_dtype(*precision, options.device, multiplies_bfloat16(options.device)).native;
  options.yardstick = options.yardstick_flag.value_or(options.device.is_cpu());
}

std::vector<std::string> passed_through(const Options& options) {
  std::vector<std::string> arguments = {"--device=" + options.device_name, "--dtype=" + options.dtype_name};
  if (!options.batch_invariant) {
    arguments.emplace_back("--batch_invariant=False");
  }
  if (options.out_dir) {
    arguments.push_back("--out_dir=" + *options.out_dir);
  }
  if (options.data_dir) {
    arguments.push_back("--data_dir=" + *options.data_dir);
  }
  return arguments;
}

std::string to_name(at::ScalarType dtype) {
  return dtype_name(dtype);
}

}  // namespace demask::bench

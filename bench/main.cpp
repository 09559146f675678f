// demask_bench: times demask as a user meets it, beside what the machine could do at best.
#include <ATen/Parallel.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <sched.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "bench/case_run.h"
#include "bench/cases.h"
#include "bench/ceilings.h"
#include "bench/cold.h"
#include "bench/options.h"
#include "bench/scaling.h"
#include "bench/synthetic.h"
#include "demask/core/error.h"
#include "demask/model/attention.h"
#include "demask/model/device.h"

namespace demask::bench {
namespace {

constexpr const char* to_stdout = "-";

struct Request {
  Options options;
  std::string cases;
  std::string hardware;  // in the user's words
  std::string json;      // a path, to_stdout, or empty for none
  std::string cold;      // a path, or empty for none
  std::string scaling_checkpoint = "diffusion_nanogpt.pt";
  bool anchors = true;
  bool scaling = false;
  bool synthetic = false;
};

void add_flags(CLI::App& app, Request& request) {
  app.add_option("--cases", request.cases,
                 "names of cases or their beginnings, separated by commas, or none; otherwise those for the device");
  app.add_option("--repeats", request.options.repeats, "timed repeats of each")
      ->check(CLI::Range(int64_t{1}, int64_t{1000}))
      ->capture_default_str();
  app.add_option("--device", request.options.device_name, "as demask's")->capture_default_str();
  app.add_option("--dtype", request.options.dtype_name, "as demask's")->capture_default_str();
  app.add_option("--out_dir", request.options.out_dir, "as demask's");
  app.add_option("--data_dir", request.options.data_dir, "as demask's");
  app.add_flag("--anchors,!--no-anchors", request.anchors, "show sample.py's times and those to reach (on)");
  // Not into the optional itself: CLI11 would count in it, and so begin by setting it to 0.
  app.add_flag_function(
      "--yardstick,!--no-yardstick", [&request](int64_t times) { request.options.yardstick_flag = times > 0; },
      "also time the Python script's algorithm in plain LibTorch operations, in float32 (on for the CPU)");
  app.add_flag(fmt::format("--json{{{}}}", to_stdout), request.json,
               "write everything to a file, --json=FILE; alone, to stdout, and the tables to stderr");
  app.add_option("--hardware", request.hardware, "what the machine is, for the JSON");
  app.add_option("--cold", request.cold, "also time whole processes of this demask program");
  app.add_flag("--scaling", request.scaling, "also time a diffusion model over iterations, samples and length");
  app.add_option("--checkpoint_name", request.scaling_checkpoint, "the model of --scaling")->capture_default_str();
  app.add_flag("--synthetic", request.synthetic, "also time a model of GPT-2's size with random weights");
}

// As demask does when it starts.
void use_all_cores() {
  cpu_set_t cores;
  if (std::getenv("OMP_NUM_THREADS") == nullptr && sched_getaffinity(0, sizeof cores, &cores) == 0) {
    at::set_num_threads(CPU_COUNT(&cores));
  }
}

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

nlohmann::ordered_json describe(const Request& request) {
  const Options& options = request.options;
  return {{"demask", DEMASK_VERSION},         {"date", date_utc()},
          {"hardware", request.hardware},     {"processor", processor_name()},
          {"threads", at::get_num_threads()}, {"libtorch", libtorch_description()},
          {"device", options.device.str()},   {"dtype", to_name(options.dtype)},
          {"repeats", options.repeats}};
}

bool any_failed(const nlohmann::ordered_json& cases) {
  for (const auto& one : cases) {
    if (one.contains("failed")) {
      return true;
    }
  }
  return false;
}

// The files that the user named are opened before minutes of work, not after.
void measure(Request& request) {
  std::ofstream json_file;
  if (!request.json.empty() && request.json != to_stdout) {
    json_file.open(request.json);
    if (!json_file) {
      fail(ExitCode::bad_usage, "cannot write '{}'. Name a file in a folder that is there.", request.json);
    }
  }
  std::FILE* file = request.json == to_stdout ? stderr : stdout;

  use_all_cores();
  Options& options = request.options;
  resolve(options);
  const std::vector<Case> cases = select_cases(request.cases, options.device.is_cuda());
  nlohmann::ordered_json json = describe(request);
  fmt::print(file, "demask {}, {}, {}, {} threads, {} in {}\n", DEMASK_VERSION, libtorch_description(),
             json["processor"].get<std::string>(), at::get_num_threads(), options.device.str(), to_name(options.dtype));

  // First, while this process holds neither memory nor the device.
  if (!request.cold.empty()) {
    json["cold"] = run_cold(request.cold, options, file);
  }
  if (options.device.is_cpu()) {
    choose_kernels();  // MKL asks at its first product, which in demask comes after this
  }
  const Ceilings ceilings = measure_ceilings(options);
  json["ceilings"] = ceilings_json(ceilings);
  fmt::print(file,
             "\nCeilings: {0} x {0} x {0} product {1:.3f} TFLOP/s, copy of {2} MiB {3:.1f} GB/s (read and written)\n",
             ceilings.product_size, ceilings.product_rate / 1e12, ceilings.copy_bytes >> 20, ceilings.copy_rate / 1e9);
  if (!cases.empty()) {
    json["cases"] = run_cases(cases, options, ceilings, request.anchors, file);
  }
  if (request.scaling) {
    json["scaling"] = run_scaling(request.scaling_checkpoint, options, file);
  }
  if (request.synthetic) {
    json["synthetic"] = run_synthetic(options, ceilings, file);
  }

  if (json_file.is_open()) {
    json_file << json.dump(2) << '\n';
    json_file.close();
    if (!json_file) {
      fail(ExitCode::failed, "could not write all of '{}'.", request.json);
    }
  } else if (request.json == to_stdout) {
    fmt::print("{}\n", json.dump(2));
  }
  if (json.contains("cases") && any_failed(json["cases"])) {
    fail(ExitCode::failed, "some cases failed; see above.");
  }
}

}  // namespace
}  // namespace demask::bench

int main(int argc, char** argv) {
  CLI::App app("Times demask as a user meets it, beside what the machine could do at best.");
  try {
    demask::bench::Request request;
    demask::bench::add_flags(app, request);
    app.parse(argc, argv);
    demask::bench::measure(request);
    return static_cast<int>(demask::ExitCode::done);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  } catch (const demask::Error& error) {
    fmt::print(stderr, "demask_bench: {}\n", error.what());
    return static_cast<int>(error.code());
  } catch (const c10::Error& error) {
    fmt::print(stderr, "demask_bench: LibTorch failed: {}\n", error.what_without_backtrace());
  } catch (const std::exception& error) {
    fmt::print(stderr, "demask_bench: failed: {}\n", error.what());
  }
  return static_cast<int>(demask::ExitCode::failed);
}

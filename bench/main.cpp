// demask_bench: times demask as a user meets it, beside what the machine could do at best.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/blocks.h"
#include "bench/case_run.h"
#include "bench/cases.h"
#include "bench/ceilings.h"
#include "bench/cold.h"
#include "bench/decode_kernels.h"
#include "bench/environment.h"
#include "bench/options.h"
#include "bench/program.h"
#include "bench/scaling.h"
#include "bench/shapes.h"
#include "bench/synthetic.h"
#include "core/error.h"
#include "core/json.h"
#include "kernels/threads.h"
#include "model/attention.h"

namespace demask::bench {
namespace {

constexpr const char* to_stdout = "-";

struct Request {
  Options options;
  std::string cases;
  std::string json;  // a path, to_stdout, or empty for none
  std::string cold;  // a path, or empty for none
  std::string scaling_checkpoint = "diffusion.pt";
  bool anchors = true;
  bool scaling = false;
  bool synthetic = false;
  std::string shapes;  // names, or empty for none
  std::string blocks;  // names, or empty for none
  std::vector<std::string> caches = {"none", "prefix", "dual"};
  int64_t decode_kernels = 0;  // texts, or 0 for none
};

void add_flags(CLI::App& app, Request& request) {
  app.add_option("--cases", request.cases,
                 "names of cases or their beginnings, separated by commas, or none; otherwise those for the device");
  app.add_option("--repeats", request.options.repeats, "timed repeats of each")
      ->check(CLI::Range(int64_t{1}, int64_t{1000}))
      ->capture_default_str();
  add_common_flags(app, request.options);
  app.add_flag("--anchors,!--no-anchors", request.anchors, "show sample.py's times and those to reach (on)");
  // Not into the optional itself: CLI11 would count in it, and so begin by setting it to 0.
  app.add_flag_function(
      "--yardstick,!--no-yardstick", [&request](int64_t times) { request.options.yardstick_flag = times > 0; },
      "also time the Python script's algorithm in plain LibTorch operations, in float32 (on for the CPU)");
  app.add_flag(fmt::format("--json{{{}}}", to_stdout), request.json,
               "write everything to a file, --json=FILE; alone, to stdout, and the tables to stderr");
  app.add_option("--cold", request.cold, "also time whole processes of this demask program");
  app.add_flag("--scaling", request.scaling, "also time a diffusion model over iterations, samples and length");
  app.add_option("--checkpoint_name", request.scaling_checkpoint, "the model of --scaling")->capture_default_str();
  app.add_flag("--synthetic", request.synthetic, "also time a model of GPT-2's size with random weights");
  app.add_option("--shapes", request.shapes,
                 "also time forwards and decoding of released models' shapes with random weights: llada-8b, dream-7b, "
                 "mdlm-170m, gpt2-124m, qwen3-0.6b, llama-8b, separated by commas, or all");
  app.add_option("--blocks", request.blocks,
                 "also time these shapes, of those that see both ways, filled block by block with each cache");
  app.add_option("--caches", request.caches, "which caches --blocks times, separated by commas; otherwise each")
      ->delimiter(',')
      ->check(CLI::IsMember({"none", "prefix", "dual"}));
  app.add_option("--decode_kernels", request.decode_kernels,
                 "also time the CUDA kernels of decoding so many texts one by one, at GPT-2's shape")
      ->check(CLI::Range(int64_t{1}, int64_t{8}));
}

nlohmann::ordered_json describe(const Options& options) {
  nlohmann::ordered_json json = describe_environment(options);
  json["repeats"] = options.repeats;
  return json;
}

void measure(Request& request) {
  const bool json_to_stdout = request.json == to_stdout;
  ResultFile json_file(json_to_stdout ? "" : request.json);
  std::FILE* file = json_to_stdout ? stderr : stdout;

  kernels::settle_threads();
  Options& options = request.options;
  resolve(options);
  const std::vector<Case> cases = select_cases(request.cases, options.device.is_cuda());
  nlohmann::ordered_json json = describe(options);
  fmt::print(file, "{}\n", environment_line(options));

  // First, while this process holds neither memory nor the device.
  if (!request.cold.empty()) {
    json["cold"] = run_cold(request.cold, options, file);
  }
  if (options.device.is_cpu()) {
    prefer_fast_products();  // MKL asks at its first product, which in demask comes after this
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
  if (!request.shapes.empty()) {
    json["shapes"] = run_shapes(request.shapes, options, ceilings, file);
  }
  if (!request.blocks.empty()) {
    json["blocks"] = run_blocks(request.blocks, request.caches, options, file);
  }
  if (request.decode_kernels > 0) {
    json["decode_kernels"] = run_decode_kernels(request.decode_kernels, options, file);
  }

  json_file.write(dump_json(json, 2) + "\n");
  if (json_to_stdout) {
    fmt::print("{}\n", dump_json(json, 2));
  }
  if (json.contains("cases") && any_failed(json["cases"])) {
    fail(ExitCode::failed, "some cases failed; see above.");
  }
}

}  // namespace
}  // namespace demask::bench

int main(int argc, char** argv) {
  CLI::App app("Times demask as a user meets it, beside what the machine could do at best.", "demask_bench");
  demask::bench::Request request;
  demask::bench::add_flags(app, request);
  return demask::bench::run_program(app, argc, argv, [&] { demask::bench::measure(request); });
}

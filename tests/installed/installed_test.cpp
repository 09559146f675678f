// demask as it is installed: the program, the library, and a program that somebody else builds on it.
#include <algorithm>
#include <filesystem>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/demask.h"

using namespace demask::testing;

namespace {

void run(const std::vector<std::string>& arguments) {
  const ProcessResult result = run_process(arguments);
  INFO(arguments[0] << " " << arguments[1] << ": " << result.out << result.err);
  REQUIRE(result.exit_code == 0);
}

// The prefix that this build is installed under, once for all tests.
const std::string& installed() {
  static const TemporaryFolder folder;
  static const std::string prefix = [] {
    run({"cmake", "--install", DEMASK_BUILD_DIR, "--prefix", folder / "installed"});
    return folder / "installed";
  }();
  return prefix;
}

// A folder of GPT-2's tokens and next to nothing else, all zeros, without a vocabulary.
void write_gpt2(const std::string& folder) {
  std::filesystem::create_directory(folder);
  const nlohmann::json config = {{"model_type", "gpt2"},
                                 {"n_layer", 1},
                                 {"n_head", 1},
                                 {"n_embd", 2},
                                 {"n_positions", 8},
                                 {"vocab_size", 50257},
                                 {"layer_norm_epsilon", 1e-5},
                                 {"activation_function", "gelu_new"}};
  write_file(folder + "/config.json", config.dump());
  nlohmann::json tensors;
  size_t bytes = 0;
  const auto add = [&](const std::string& name, const std::vector<size_t>& shape) {
    const size_t begin = bytes;
    bytes += std::accumulate(shape.begin(), shape.end(), sizeof(float), std::multiplies<>());
    tensors[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {begin, bytes}}};
  };
  const auto add_with_bias = [&](const std::string& module, const std::vector<size_t>& shape) {
    add(module + ".weight", shape);
    add(module + ".bias", {shape.back()});
  };
  add("wte.weight", {50257, 2});
  add("wpe.weight", {8, 2});
  add_with_bias("h.0.ln_1", {2});
  add_with_bias("h.0.attn.c_attn", {2, 6});
  add_with_bias("h.0.attn.c_proj", {2, 2});
  add_with_bias("h.0.ln_2", {2});
  add_with_bias("h.0.mlp.c_fc", {2, 8});
  add_with_bias("h.0.mlp.c_proj", {8, 2});
  add_with_bias("ln_f", {2});
  std::string header = tensors.dump();
  header.append((8 - header.size() % 8) % 8, ' ');
  std::string length(8, '\0');
  for (size_t i = 0; i < length.size(); ++i) {
    length[i] = static_cast<char>(header.size() >> 8 * i & 0xff);
  }
  write_file(folder + "/model.safetensors", length + header + std::string(bytes, '\0'));
}

}  // namespace

TEST_CASE("The example program, built on an installed copy, draws the samples of the command line") {
  const TemporaryFolder folder;
  const std::string prefix = installed(), source = DEMASK_SOURCE_DIR;
  run({"cmake", "-G", "Ninja", "-S", source + "/examples/library", "-B", folder / "build",
       "-DCMAKE_PREFIX_PATH=" + prefix});
  run({"cmake", "--build", folder / "build"});

  const std::string output = folder / "samples.jsonl";
  for (const std::vector<std::string>& method :
       {std::vector<std::string>{"--sampling_method=standard", "--max_new_tokens=40", "--start_text=ROMEO:"},
        std::vector<std::string>{"--sequence_length=64", "--diffusion_iterations=5"}}) {
    std::vector<std::string> settings = {"--num_samples=3", "--seed=5", "--out_dir=" + source + "/out",
                                         "--data_dir=" + source + "/data"};
    settings.insert(settings.end(), method.begin(), method.end());
    std::vector<std::string> program = {prefix + "/bin/demask", "--output=" + output, "--show_progress=False"};
    std::vector<std::string> example = {folder / "build/draw"};
    program.insert(program.end(), settings.begin(), settings.end());
    example.insert(example.end(), settings.begin(), settings.end());
    run(program);
    std::string expected;
    for (const nlohmann::json& sample : read_json_lines(output)) {
      expected += "SAMPLE " + sample["index"].dump() + "\n" + sample["text"].get<std::string>() + "\n";
    }
    const ProcessResult drawn = run_process(example);
    INFO(drawn.err);
    CHECK(drawn.exit_code == 0);
    CHECK(drawn.out == expected);
  }

  const ProcessResult refused = run_process({folder / "build/draw", "--temprature=1"});
  CHECK(refused.exit_code == 2);
  CHECK(refused.err.find("did you mean --temperature") != std::string::npos);
  CHECK(refused.out.empty());
}

TEST_CASE("An installed demask draws from its example models where the working folder has none, and says so") {
  const TemporaryFolder folder;
  const std::string prefix = installed();
  ProcessOptions elsewhere;
  elsewhere.directory = folder.path();
  const ProcessResult drawn = run_process(
      {prefix + "/bin/demask", "--num_samples=1", "--sequence_length=8", "--diffusion_iterations=2"}, elsewhere);
  INFO(drawn.err);
  CHECK(drawn.exit_code == 0);
  CHECK(!drawn.out.empty());
  CHECK(drawn.err.find("installed with demask") != std::string::npos);
  const ProcessResult named = run_process({prefix + "/bin/demask", "--out_dir=out"}, elsewhere);
  CHECK(named.exit_code == 3);
  for (const char* file : {"/share/man/man1/demask.1.gz", "/share/bash-completion/completions/demask",
                           "/share/zsh/vendor-completions/_demask", "/share/fish/vendor_completions.d/demask.fish",
                           "/share/demask/configs/best.py", "/share/doc/demask/copyright"}) {
    INFO(file);
    CHECK(std::filesystem::exists(prefix + file));
  }
}

TEST_CASE("A model of GPT-2's tokens finds their pieces among the installed files, wherever the program is called") {
  const TemporaryFolder folder;
  const std::string prefix = installed();
  write_gpt2(folder / "gpt2");
  ProcessOptions elsewhere;
  elsewhere.directory = folder.path();
  const ProcessResult drawn =
      run_process({prefix + "/bin/demask", "--sampling_method=standard", "--out_dir=.", "--checkpoint_name=gpt2",
                   "--start_text=To be", "--max_new_tokens=1", "--num_samples=1"},
                  elsewhere);
  std::string notices = drawn.err;  // without the line breaks that a width asks for
  notices.erase(std::remove(notices.begin(), notices.end(), '\n'), notices.end());
  INFO(drawn.err);
  CHECK(drawn.exit_code == 0);
  CHECK(notices.find(prefix + "/share/demask/data/gpt2/merges.txt") != std::string::npos);
  CHECK(drawn.out.find("To be") != std::string::npos);
}

// Files that are missing, damaged, hostile, or of another kind than they are used as.
#include <random>
#include <string>
#include <vector>

#include "tests/cli/refusal.h"
#include "tests/support/checkpoint_files.h"

using namespace demask::testing;
namespace pickled = demask::testing::pickled;

namespace {

const std::string shipped = DEMASK_SOURCE_DIR "/out/";
const std::string data = DEMASK_SOURCE_DIR "/data/";

void check_checkpoint_refused(const std::string& path, const std::vector<std::string>& parts) {
  check_refused({"--checkpoint_name=" + path}, bad_input, parts);
}

// A checkpoint whose data.pkl pushes `value`, refused with its path and `parts`.
void check_pickle_refused(const std::string& value, std::vector<std::string> parts) {
  const TemporaryFolder folder;
  const std::string path = folder / "hostile.pt";
  write_archive(path, {{"data.pkl", pickled::document(value)}});
  parts.push_back(path);
  check_checkpoint_refused(path, parts);
}

void check_tiny_refused(const CheckpointFile& file, std::vector<std::string> parts) {
  const TemporaryFolder folder;
  const std::string path = folder / "tiny.pt";
  file.write(path);
  parts.push_back(path);
  check_checkpoint_refused(path, parts);
}

std::string random_bytes() {
  std::mt19937 engine(1);
  std::string bytes(5000, '\0');
  for (char& byte : bytes) {
    byte = static_cast<char>(engine());
  }
  return bytes;
}

}  // namespace

TEST_CASE("A missing checkpoint is named, with what its folder holds") {
  check_checkpoint_refused("absent.pt",
                           {"'out/absent.pt'", "not found", "diffusion.pt", "standard.pt", "--checkpoint_name"});
  check_refused({"--out_dir=/absent/folder"}, bad_input,
                {"/absent/folder/diffusion.pt", "no folder '/absent/folder'", "--out_dir"});
}

TEST_CASE("A file that is no checkpoint is named and told apart") {
  const TemporaryFolder folder;
  const std::string path = folder / "model.pt";
  check_checkpoint_refused(folder.path(), {folder.path(), "is no model's folder", "config.json"});
  write_file(path, "");
  check_checkpoint_refused(path, {path, "is empty"});
  for (const std::string& content : {random_bytes(), std::string("First Citizen:\nSpeak, speak.\n")}) {
    write_file(path, content);
    check_checkpoint_refused(path, {path, "is not a checkpoint", "zip"});
  }
  for (const std::string& model : {shipped + "diffusion.pt", exported_diffusion}) {
    const std::string whole = read_file(model);
    write_file(path, whole.substr(0, whole.size() / 2));
    check_checkpoint_refused(path, {path, "truncated"});
  }
}

TEST_CASE("A pickle that would run code is refused without running it") {
  const TemporaryFolder folder;
  const std::string marker = folder / "ran";
  for (const char* module : {"os", "posix"}) {
    const std::string attack = pickled::call(pickled::global(module, "system"), {pickled::text("touch " + marker)});
    check_pickle_refused(attack, {std::string(module) + ".system"});
    check_pickle_refused(pickled::object({{"model", attack}, {"model_args", pickled::object({})}}),
                         {std::string(module) + ".system"});

    const std::string meta = folder / "meta.pkl";
    write_file(meta, pickled::document(pickled::object({{"itos", attack}})));
    check_refused({"--meta_path=" + meta}, bad_input, {meta, std::string(module) + ".system"});
  }
  CHECK_FALSE(std::filesystem::exists(marker));
}

TEST_CASE("A pickle nested 100,000 deep is refused") {
  check_pickle_refused(std::string(100000, '(') + std::string(100000, 't'), {"deep"});
  check_pickle_refused(")" + std::string(100000, '\x85'), {"deep"});  // tuples of one
}

TEST_CASE("A pickle that claims a string of 2^60 bytes is refused without allocating them") {
  const std::string length = pickled::little_endian(uint64_t{1} << 60, 8);
  check_pickle_refused("\x8d" + length + "short", {"1152921504606846976"});
  check_pickle_refused("\x8e" + length + "short", {"1152921504606846976"});
}

TEST_CASE("A tensor that reaches past the end of its storage is refused by name") {
  CheckpointFile file = tiny_checkpoint();
  PickledTensor tensor;
  tensor.key = "9";  // lm_head.weight, 3 x 4 floats
  tensor.storage_numel = 12;
  tensor.offset = 1;
  tensor.sizes = {3, 4};
  tensor.strides = {4, 1};
  set_entry(file.model, "lm_head.weight", tensor.opcodes());
  check_tiny_refused(file, {"lm_head.weight"});
  tensor.offset = 0;
  tensor.storage_numel = 1200;
  set_entry(file.model, "lm_head.weight", tensor.opcodes());
  check_tiny_refused(file, {"lm_head.weight"});
}

TEST_CASE("Missing, unexpected and misshapen tensors are listed") {
  CheckpointFile file = tiny_checkpoint();
  set_entry(file.model, "transformer.ln_f.weight", "");
  file.add_tensor("transformer.h.7.surprise", at::zeros({2}));
  set_entry(file.model, "transformer.wpe.weight", "");
  file.add_tensor("transformer.wpe.weight", at::zeros({6, 4}));
  check_tiny_refused(file, {"Missing: transformer.ln_f.weight", "Unexpected: 'transformer.h.7.surprise'",
                            "Misshapen: transformer.wpe.weight is [6, 4], expected [5, 4]"});
}

TEST_CASE("A model is refused for what it was not trained to do") {
  check_refused({"--checkpoint_name=standard.pt"}, bad_input,
                {"out/standard.pt", "cannot do diffusion", "mask", "--sampling_method=standard"});
  check_checkpoint_refused("remasking.pt", {"out/remasking.pt", "two-class", "--remasking_checkpoint_name"});
  check_refused({"--remasking_checkpoint_name=standard.pt"}, bad_input,
                {"out/standard.pt", "not a remasking model", "two classes"});
  check_refused({"--remasking_checkpoint_name=absent.pt"}, bad_input, {"out/absent.pt", "not found", "remasking.pt"});
}

TEST_CASE("A vocabulary that is missing, incomplete or of another model is named") {
  const TemporaryFolder folder;
  check_refused({"--dataset=absent"}, bad_input, {"data/absent/meta.pkl", "not found", "--dataset"});
  check_refused({"--meta_path=" + folder.path()}, bad_input, {folder.path(), "tokenizer.json", "meta.pkl"});

  const std::string path = folder / "meta.pkl";
  write_file(path, pickled::document(pickled::object({{"vocab_size", pickled::integer(65)}})));
  check_refused({"--meta_path=" + path}, bad_input, {path, "no 'itos'", "vocab_size"});

  std::vector<std::string> tokens;
  for (int id = 0; id < 90; ++id) {
    tokens.push_back(pickled::text(std::string(1, static_cast<char>(' ' + id))));
  }
  write_file(path, pickled::document(pickled::object({{"itos", pickled::list(tokens)}})));
  check_refused({"--meta_path=" + path}, bad_input, {path, "90 tokens", "out/diffusion.pt", "66", "--meta_path"});
}

TEST_CASE("A config file's errors carry its name and line") {
  const TemporaryFolder folder;
  struct Case {
    std::string name, content;
    int exit_code;
    std::vector<std::string> parts;
  };
  const std::vector<Case> cases = {
      {"syntax.py", "seed = 1\nnum_samples = = 2\n", bad_input, {"syntax.py:2: "}},
      {"code.py", "import os\nos.system('true')\n", bad_input, {"code.py:1: "}},
      {"key.py", "# comment\n\ntemprature = 0.5\n", bad_usage, {"key.py:3: ", "temprature", "temperature"}},
      {"value.py", "top_p = 2\n", bad_usage, {"value.py:1: ", "top_p = 2", "at most 1"}},
      {"syntax.json", "{\n \"seed\": 1,\n \"num_samples\" 2\n}\n", bad_input, {"syntax.json:3: "}},
      {"key.json", "{\n \"sead\": 1\n}\n", bad_usage, {"key.json:2: ", "sead", "seed"}},
  };
  for (const Case& entry : cases) {
    const std::string path = folder / entry.name;
    write_file(path, entry.content);
    check_refused({path}, entry.exit_code, entry.parts);
  }
  check_refused({folder / "absent.py"}, bad_input, {folder / "absent.py", "missing"});
  check_refused({"settings.txt"}, bad_usage, {"settings.txt", ".py", ".json"});
}

TEST_CASE("A JSON config sets its keys") {
  const TemporaryFolder folder;
  write_file(folder / "ok.json", R"({"num_samples": 2, "sequence_length": 8})");
  const ProcessResult result = demask::testing::demask(quick({folder / "ok.json"}));
  INFO(result.err);
  CHECK(result.exit_code == done);
  CHECK(contains(result.out, "SAMPLE 2/2\n"));
}

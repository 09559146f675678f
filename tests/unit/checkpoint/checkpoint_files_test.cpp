#include "checkpoint/checkpoint_files.h"

#include <string>
#include <vector>

#include "core/sha256.h"
#include "tests/support/catch.h"
#include "tests/support/process.h"

using namespace demask;
using demask::testing::TemporaryFolder;
using demask::testing::write_file;

TEST_CASE("A file is its own checkpoint; beside a config.json a file of safetensors has two") {
  const TemporaryFolder folder;
  write_file(folder / "model.pt", "PK");
  CHECK(checkpoint_files(folder / "model.pt") == std::vector{folder / "model.pt"});
  CHECK(checkpoint_files(folder / "absent.pt") == std::vector{folder / "absent.pt"});
  CHECK(checkpoint_files(folder / "model.safetensors") ==
        std::vector{folder / "config.json", folder / "model.safetensors"});
}

TEST_CASE("Of a folder those files count that loading reads") {
  const TemporaryFolder folder;
  for (const char* name : {"config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                           "model.safetensors.index.json", "tokenizer.json", "README.md", "pytorch_model.bin"}) {
    write_file(folder / name, name);
  }
  CHECK(checkpoint_files(folder.path()) ==
        std::vector{folder / "config.json", folder / "model-00001-of-00002.safetensors",
                    folder / "model-00002-of-00002.safetensors", folder / "model.safetensors.index.json"});
  write_file(folder / "model.safetensors", "whole");  // comes before shards
  CHECK(checkpoint_files(folder.path()) == std::vector{folder / "config.json", folder / "model.safetensors"});
}

TEST_CASE("The digest of a folder follows its files' bytes, not where they lie") {
  const TemporaryFolder one, other;
  for (const TemporaryFolder* folder : {&one, &other}) {
    write_file(*folder / "config.json", "{}");
    write_file(*folder / "model.safetensors", "weights");
    write_file(*folder / "tokenizer.json", folder->path());
  }
  CHECK(checkpoint_digest(one.path()) == checkpoint_digest(other.path()));
  write_file(other / "model.safetensors", "weightS");
  CHECK(checkpoint_digest(one.path()) != checkpoint_digest(other.path()));
  write_file(one / "a.pt", "abc");
  CHECK(checkpoint_digest(one / "a.pt") == sha256_of_file(one / "a.pt"));
}

// Small checkpoints as torch.save writes them, for tests: a hand-made pickle and its storages in LibTorch's zip writer.
#pragma once

#include <ATen/Functions.h>
#include <caffe2/serialize/inline_container.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/pickled.h"

namespace demask::testing {

using Entries = std::vector<std::pair<std::string, std::string>>;

// A zip of these records, in the folder "archive".
inline void write_archive(const std::string& path, const Entries& records) {
  caffe2::serialize::PyTorchStreamWriter writer(path);
  for (const auto& [name, content] : records) {
    writer.writeRecord(name, content.data(), content.size());
  }
  writer.writeEndOfFile();
}

// Where and how a tensor lies, as the arguments of torch._utils._rebuild_tensor_v2 say it.
struct PickledTensor {
  std::string storage_type = "FloatStorage";
  std::string key = "0";
  int64_t storage_numel = 0;
  int64_t offset = 0;
  std::vector<int64_t> sizes;
  std::vector<int64_t> strides;

  std::string opcodes() const {
    using namespace pickled;
    const auto numbers = [](const std::vector<int64_t>& values) {
      std::vector<std::string> items;
      for (const int64_t value : values) {
        items.push_back(integer(value));
      }
      return tuple(items);
    };
    const std::string storage = persistent_id(
        tuple({text("storage"), global("torch", storage_type), text(key), text("cpu"), integer(storage_numel)}));
    return call(global("torch._utils", "_rebuild_tensor_v2"),
                {storage, integer(offset), numbers(sizes), numbers(strides), boolean(false),
                 call(global("collections", "OrderedDict"), {})});
  }
};

// A checkpoint to be changed and written: entries are opcodes, by key.
struct CheckpointFile {
  Entries model;  // state dict
  Entries model_args;
  Entries others;   // more keys of the outermost dict
  Entries records;  // more records of the archive; add_tensor puts the storages here

  // Stores a contiguous tensor under `name`, in a storage of its own.
  void add_tensor(const std::string& name, const at::Tensor& tensor) {
    static const std::map<at::ScalarType, std::string> types{{at::kFloat, "FloatStorage"},
                                                             {at::kHalf, "HalfStorage"},
                                                             {at::kBFloat16, "BFloat16Storage"},
                                                             {at::kDouble, "DoubleStorage"},
                                                             {at::kLong, "LongStorage"}};
    PickledTensor pickled;
    pickled.storage_type = types.at(tensor.scalar_type());
    pickled.key = std::to_string(records.size());
    pickled.storage_numel = tensor.numel();
    pickled.sizes = tensor.sizes().vec();
    pickled.strides = tensor.strides().vec();
    model.emplace_back(name, pickled.opcodes());
    records.emplace_back("data/" + pickled.key,
                         std::string(static_cast<const char*>(tensor.data_ptr()), tensor.nbytes()));
  }

  void write(const std::string& path) const {
    using namespace pickled;
    Entries root{{"model", object(model)}, {"model_args", object(model_args)}};
    root.insert(root.end(), others.begin(), others.end());
    Entries all{{"data.pkl", document(object(root))}, {"byteorder", "little"}};
    all.insert(all.end(), records.begin(), records.end());
    write_archive(path, all);
  }
};

// Replaces the opcodes of `key`, or drops it where `opcodes` is empty.
inline void set_entry(Entries& entries, const std::string& key, const std::string& opcodes) {
  for (auto entry = entries.begin(); entry != entries.end(); ++entry) {
    if (entry->first != key) {
      continue;
    }
    if (opcodes.empty()) {
      entries.erase(entry);
    } else {
      entry->second = opcodes;
    }
    return;
  }
  if (!opcodes.empty()) {
    entries.emplace_back(key, opcodes);
  }
}

// One layer, one head, 4 wide, 3 tokens, 5 positions, no biases, absolute positions; element i of each tensor is i.
inline CheckpointFile tiny_checkpoint(at::ScalarType dtype = at::kFloat) {
  using namespace pickled;
  CheckpointFile file;
  file.model_args = {{"n_layer", integer(1)},    {"n_head", integer(1)},     {"n_embd", integer(4)},
                     {"block_size", integer(5)}, {"vocab_size", integer(3)}, {"bias", boolean(false)}};
  const std::vector<std::pair<std::string, std::vector<int64_t>>> shapes{
      {"transformer.wte.weight", {3, 4}},
      {"transformer.wpe.weight", {5, 4}},
      {"transformer.h.0.ln_1.weight", {4}},
      {"transformer.h.0.attn.c_attn.weight", {12, 4}},
      {"transformer.h.0.attn.c_proj.weight", {4, 4}},
      {"transformer.h.0.ln_2.weight", {4}},
      {"transformer.h.0.mlp.c_fc.weight", {16, 4}},
      {"transformer.h.0.mlp.c_proj.weight", {4, 16}},
      {"transformer.ln_f.weight", {4}},
      {"lm_head.weight", {3, 4}}};
  for (const auto& [name, shape] : shapes) {
    int64_t count = 1;
    for (const int64_t size : shape) {
      count *= size;
    }
    file.add_tensor(name, at::arange(count).to(dtype).reshape(shape));
  }
  return file;
}

// Makes the last tensor of a float32 checkpoint, the head, so large that logits overflow where its weights do not.
inline void overflow_head(CheckpointFile& file) {
  constexpr float huge = 3e38F;
  std::string& head = file.records.back().second;
  for (size_t at = 0; at + sizeof huge <= head.size(); at += sizeof huge) {
    std::memcpy(&head[at], &huge, sizeof huge);
  }
}

}  // namespace demask::testing
